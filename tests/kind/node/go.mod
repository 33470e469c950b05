module phasegate.dev/tests/pause

go 1.26
