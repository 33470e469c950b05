package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// runNode adds the simulated node to an existing cluster, such as one of kind,
// keeps it until ctx ends, and removes it. Cordon the cluster's own nodes for
// that time, because they would pull images that do not exist.
func runNode(ctx context.Context, kubeconfig string) error {
	tools, err := build(ctx, "kubectl", "kwok")
	if err != nil {
		return err
	}
	dir, lock, err := claimDir("")
	if err != nil {
		return err
	}
	defer lock.Close()
	defer os.RemoveAll(dir)

	kubectl := func(ctx context.Context, stdin string, args ...string) error {
		cmd := exec.CommandContext(ctx, tools.path["kubectl"], append([]string{"--kubeconfig=" + kubeconfig}, args...)...)
		cmd.Stdin = strings.NewReader(stdin)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("kubectl %s: %w: %s", args[0], err, bytes.TrimSpace(out))
		}
		return nil
	}
	if err := kubectl(ctx, node, "create", "-f", "-"); err != nil {
		return err
	}
	// The context of the caller has ended by then.
	defer kubectl(context.Background(), "", "delete", "node", nodeName, "--ignore-not-found")

	stages, err := tools.stages()
	if err != nil {
		return err
	}
	c := &cluster{dir: dir, tools: tools, ended: make(chan *process, 1)}
	c.about.Ports, c.about.Kubeconfig = map[string]int{}, kubeconfig
	if err := os.WriteFile(c.file("kwok.yaml"), stages, 0o600); err != nil {
		return err
	}
	defer c.stop()
	if err := c.launch("kwok", c.kwokFlags()...); err != nil {
		return err
	}
	if err := kubectl(ctx, "", "wait", "--for=condition=Ready", "--timeout=60s", "node/"+nodeName); err != nil {
		return err
	}
	fmt.Println(nodeName + " is ready")
	return c.supervise(ctx)
}
