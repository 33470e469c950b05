package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

const readyTimeout = 2 * time.Minute

// start starts the components in order, and returns when all are ready.
func (c *cluster) start(ctx context.Context, auditLog bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("not ready within %s", readyTimeout))
	defer cancel()
	certs, err := newCertificates()
	if err != nil {
		return err
	}
	if c.client, err = certs.client(); err != nil {
		return err
	}
	c.about.Ports = map[string]int{}
	c.about.Kubeconfig = c.file("kubeconfig")

	if err := c.launch("etcd",
		"--data-dir="+c.file("etcd"),
		"--listen-client-urls=http://127.0.0.1:{port}", "--advertise-client-urls=http://127.0.0.1:{port}",
		"--listen-peer-urls=http://127.0.0.1:0", // it has no peers
		"--unsafe-no-fsync=true",
		"--log-level=warn",
	); err != nil {
		return err
	}
	etcd := fmt.Sprintf("http://127.0.0.1:%d", c.about.Ports["etcd"])
	if err := c.waitFor(ctx, "etcd", c.healthy(etcd+"/health")); err != nil {
		return err
	}

	if err := certs.write(c.dir); err != nil {
		return err
	}
	if auditLog {
		c.about.AuditLog = c.file("audit.log")
		policy := `{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": [{"level": "Metadata"}]}`
		if err := os.WriteFile(c.file("audit-policy.json"), []byte(policy), 0o600); err != nil {
			return err
		}
	}
	if err := c.launch("kube-apiserver", append(c.apiserverFlags(), "--etcd-servers="+etcd)...); err != nil {
		return err
	}
	c.about.Server = fmt.Sprintf("https://127.0.0.1:%d", c.about.Ports["kube-apiserver"])
	if err := certs.writeKubeconfig(c.about.Kubeconfig, c.about.Server); err != nil {
		return err
	}
	if err := c.waitFor(ctx, "kube-apiserver", c.healthy(c.about.Server+"/readyz")); err != nil {
		return err
	}

	stages, err := c.tools.stages()
	if err != nil {
		return err
	}
	if err := errors.Join(
		os.WriteFile(c.file("kwok.yaml"), stages, 0o600),
		c.createNode(ctx),
		c.launch("kube-controller-manager", append(c.controllerFlags(),
			"--use-service-account-credentials=true",
			"--root-ca-file="+c.file("ca.crt"),
			"--service-account-private-key-file="+c.file("service-account.key"),
			"--concurrent-deployment-syncs=20", "--concurrent-replicaset-syncs=20",
			// Otherwise a late heartbeat on a busy machine makes the node and its pods unready.
			"--node-monitor-grace-period=1h")...),
		c.launch("kube-scheduler", c.controllerFlags()...),
		c.launch("kwok", c.kwokFlags()...),
	); err != nil {
		return err
	}
	for _, wait := range []struct {
		component string
		ready     func(context.Context) error
	}{
		{"kube-controller-manager", c.healthy(fmt.Sprintf("https://127.0.0.1:%d/healthz", c.about.Ports["kube-controller-manager"]))},
		{"kube-scheduler", c.healthy(fmt.Sprintf("https://127.0.0.1:%d/healthz", c.about.Ports["kube-scheduler"]))},
		{"kwok", c.healthy(fmt.Sprintf("http://127.0.0.1:%d/healthz", c.about.Ports["kwok"]))},
		{"kwok", c.nodeReady},
		// Without this account no pod is admitted.
		{"kube-controller-manager", c.healthy(c.about.Server + "/api/v1/namespaces/default/serviceaccounts/default")},
	} {
		if err := c.waitFor(ctx, wait.component, wait.ready); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) servingFlags() []string {
	return []string{
		"--bind-address=127.0.0.1", "--secure-port={port}",
		"--tls-cert-file=" + c.file("server.crt"), "--tls-private-key-file=" + c.file("server.key"),
		"--client-ca-file=" + c.file("ca.crt"),
		"--profiling=false",
	}
}

func (c *cluster) apiserverFlags() []string {
	flags := append(c.servingFlags(),
		"--service-account-key-file="+c.file("service-account.key"),
		"--service-account-signing-key-file="+c.file("service-account.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--authorization-mode=Node,RBAC",
		// Some distributions enable this plugin, and it requires an additional permission.
		"--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
		"--service-cluster-ip-range=10.96.0.0/12",
		"--allow-privileged=true",
		// Endpoints must not contain a loopback address, so this server publishes none.
		"--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none",
	)
	if c.about.AuditLog != "" {
		flags = append(flags, "--audit-log-path="+c.about.AuditLog, "--audit-policy-file="+c.file("audit-policy.json"))
	}
	return flags
}

// controllerFlags returns the flags of the controller manager and the scheduler.
func (c *cluster) controllerFlags() []string {
	return append(c.servingFlags(),
		"--kubeconfig="+c.about.Kubeconfig,
		"--authentication-kubeconfig="+c.about.Kubeconfig, "--authentication-skip-lookup=true",
		"--authorization-kubeconfig="+c.about.Kubeconfig,
		"--authorization-always-allow-paths=/healthz,/readyz,/livez",
		"--leader-elect=false",
		"--kube-api-qps=500", "--kube-api-burst=1000",
	)
}

func (c *cluster) kwokFlags() []string {
	return []string{
		"--kubeconfig=" + c.about.Kubeconfig,
		"--config=" + c.file("kwok.yaml"),
		"--server-address=127.0.0.1:{port}",
		"--manage-all-nodes=false", "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
		"--cidr=10.200.0.0/14",
		"--node-lease-duration-seconds=40",
	}
}

// launch starts a component and replaces {port} with a free port. It chooses the
// port right before its use, because another process may take an unbound port.
func (c *cluster) launch(name string, flags ...string) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	c.about.Ports[name] = port
	p := &process{name: name, dir: c.dir, args: []string{c.tools.path[name]}}
	for _, flag := range flags {
		p.args = append(p.args, strings.ReplaceAll(flag, "{port}", fmt.Sprint(port)))
	}
	if err := p.start(c.ended); err != nil {
		return err
	}
	c.processes = append(c.processes, p)
	return nil
}

// waitFor polls until ready returns no error. It fails when a process exits.
func (c *cluster) waitFor(ctx context.Context, component string, ready func(context.Context) error) error {
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case p := <-c.ended:
			return died(p)
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			i := slices.IndexFunc(c.processes, func(p *process) bool { return p.name == component })
			return fmt.Errorf("%s is %w (%v); its log ends with:\n%s", component, context.Cause(ctx), err, c.processes[i].logTail())
		}
	}
}

func died(p *process) error {
	return fmt.Errorf("%s has ended (%v); its log ends with:\n%s", p.name, p.cmd.ProcessState, p.logTail())
}

func (c *cluster) healthy(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := c.request(ctx, http.MethodGet, url, "")
		return err
	}
}

func (c *cluster) request(ctx context.Context, method, url, body string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := c.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s: %s", method, url, response.Status, lastLines(answer, 5))
	}
	return answer, err
}

const nodeName = "node-0"

const node = `{
	"apiVersion": "v1", "kind": "Node",
	"metadata": {
		"name": "` + nodeName + `",
		"annotations": {"kwok.x-k8s.io/node": "fake"},
		"labels": {
			"kubernetes.io/hostname": "` + nodeName + `",
			"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"
		}
	},
	"status": {
		"allocatable": {"cpu": "100k", "memory": "100Ti", "pods": "100k"},
		"capacity": {"cpu": "100k", "memory": "100Ti", "pods": "100k"}
	}
}`

func (c *cluster) createNode(ctx context.Context) error {
	_, err := c.request(ctx, http.MethodPost, c.about.Server+"/api/v1/nodes", node)
	return err
}

// nodeReady also waits until a new node has no taints, because they delay the first pods.
func (c *cluster) nodeReady(ctx context.Context) error {
	answer, err := c.request(ctx, http.MethodGet, c.about.Server+"/api/v1/nodes/"+nodeName, "")
	if err != nil {
		return err
	}
	var node struct {
		Spec   struct{ Taints []any }
		Status struct {
			Conditions []struct{ Type, Status string }
		}
	}
	if err := json.Unmarshal(answer, &node); err != nil {
		return err
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == "Ready" && condition.Status == "True" && len(node.Spec.Taints) == 0 {
			return nil
		}
	}
	return errors.New("the node is not ready")
}
