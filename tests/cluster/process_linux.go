package main

import "syscall"

// childAttributes give a child a process group of its own, so that Ctrl-C in a
// terminal reaches this program alone, and end it should this program be killed.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
