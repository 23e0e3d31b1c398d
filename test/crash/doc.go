// Package crash proves what the operator promises when it is killed (SIGKILL). It runs
// the real program against a real API server and simulated providers, and stands between
// them: every request is seen, and can be the operator's last. There are five trials:
//
//   - No rotating refresh token is lost unnoticed, nor used when its successor was
//     received, with two authorization servers that revoke a whole family of tokens when
//     a used one comes back. A ledger keeps the books.
//   - Under load no token is lost, none is minted twice but those in flight, and no target
//     holds an expired one, while people edit, delete and make again. A chronicle holds
//     what providers issued, every version of every target as a watch saw it, what people
//     did and when processes ended; an audit judges it afterwards.
//   - A leader's standby takes over before a token expires that outlives the lease.
//   - A leader that is stopped (SIGSTOP) with something on its way, and wakes up as a
//     former leader, neither replaces a newer token nor mints.
//   - Killed with a wrong password on its way, again and again, the operator tries it no
//     more than twice in a quarter of an hour, and locks no account.
//
// "make crash CRASHES=n" runs them beside each other; a plain go test only tests the
// ledger, the audit and the oracles.
package crash
