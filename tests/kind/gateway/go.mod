module phasegate.dev/tests/gateway

go 1.26
