// Package crash proves that no crash of the operator loses a rotating refresh token
// unnoticed, nor uses one whose successor it had received. It runs the real program
// against a real API server and against two authorization servers that revoke a whole
// family of tokens when a used refresh token comes back, kills it (SIGKILL) at every
// step of the protocol, and keeps books between the operator and both of them.
//
// "make crash CRASHES=n" runs it; a plain go test only tests the books and the oracles.
package crash
