// Package formats hands the examples of docs/formats.md, rendered by the operator's
// own code with tokens that are hard on syntax, to the programs that they are for.
package formats
