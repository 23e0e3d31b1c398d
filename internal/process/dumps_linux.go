package process

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// ForbidDumps keeps the memory of this process, which holds tokens and credentials,
// out of core files, and out of reach of other processes of the same user: see
// PR_SET_DUMPABLE in prctl(2). A limit on the size of core files would not do: it
// does not count where the kernel pipes them to a program.
func ForbidDumps() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("forbidding core dumps: %w", err)
	}
	return nil
}
