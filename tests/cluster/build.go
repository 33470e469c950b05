package main

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

// The pinned module is carried inside this program, so that it can build from
// any working directory.
//
//go:embed go.mod
var goMod []byte

//go:embed go.sum
var goSum []byte

type component struct {
	name, pkg, module string
	takes             string // on two cores, with nothing in Go's build cache
}

var components = []component{
	{"etcd", "go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/server/v3", "1 minute"},
	{"kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", "k8s.io/kubernetes", "3-7 minutes"},
	{"kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager", "k8s.io/kubernetes", "2 minutes"},
	{"kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler", "k8s.io/kubernetes", "10 seconds"},
	{"kwok", "sigs.k8s.io/kwok/cmd/kwok", "sigs.k8s.io/kwok", "30 seconds"},
	{"kubectl", "k8s.io/kubernetes/cmd/kubectl", "k8s.io/kubernetes", "30 seconds"},
}

func (c component) version() string {
	line := regexp.MustCompile(`(?m)^(?:require|\t)\s*` + regexp.QuoteMeta(c.module) + ` (v\S+)`)
	return string(line.FindSubmatch(goMod)[1])
}

// toolbox has the paths of the binaries. dir contains the built binaries and the
// kwok stages. A binary from the environment may be somewhere else.
type toolbox struct {
	dir  string
	path map[string]string
}

func buildFlags() []string {
	version := components[1].version()
	number := strings.Split(strings.TrimPrefix(version, "v"), ".")
	const variable = " -X k8s.io/component-base/version."
	return []string{"-trimpath", "-ldflags", "-s -w" +
		variable + "gitVersion=" + version +
		variable + "gitMajor=" + number[0] +
		variable + "gitMinor=" + number[1]}
}

// build builds the named components that are missing. Without names, it builds all.
func build(ctx context.Context, names ...string) (*toolbox, error) {
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	// This program was compiled in the same module, hence by the same Go. With
	// "go env", a cluster would need an installed Go.
	toolchain := fmt.Sprintln(runtime.Version(), runtime.GOOS, runtime.GOARCH)
	key := sha256.Sum256([]byte(string(goSum) + toolchain + strings.Join(buildFlags(), " ")))
	tools := &toolbox{filepath.Join(cache, fmt.Sprintf("control-plane-%x", key[:8])), map[string]string{}}

	missing := func(names ...string) (list []component) {
		for _, c := range components {
			if len(names) > 0 && !slices.Contains(names, c.name) || tools.path[c.name] != "" {
				continue
			}
			path := filepath.Join(tools.dir, c.name)
			if _, err := os.Stat(path); err != nil {
				list = append(list, c)
			} else {
				tools.path[c.name] = path
			}
		}
		return list
	}
	if err := tools.useEnvironment(); err != nil {
		return nil, err
	}
	if len(missing(names...)) == 0 {
		return tools, nil
	}

	if _, err := exec.LookPath("go"); err != nil {
		return nil, &failure{3, "building the control plane needs Go: install Go 1.26 or newer from https://go.dev/dl"}
	}
	if err := os.MkdirAll(tools.dir, 0o755); err != nil {
		return nil, err
	}
	lock, err := waitForLock(ctx, filepath.Join(tools.dir, "lock"), "another process is building into "+tools.dir)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	for _, c := range missing(names...) {
		// The position in the build order. Existing components count, so that a requested kubectl alone is first.
		position := len(components) - len(missing()) + 1
		if err := tools.compile(ctx, c, position); err != nil {
			return nil, err
		}
	}
	missing(names...)
	return tools, nil
}

// useEnvironment uses the binaries from the environment variables of envtest.
func (t *toolbox) useEnvironment() error {
	// A control plane of another version needs its own controllers, which envtest's assets lack.
	for _, name := range []string{"kube-apiserver", "etcd", "kubectl", "kube-controller-manager", "kube-scheduler"} {
		variable := "TEST_ASSET_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		if path := os.Getenv(variable); path != "" {
			if _, err := exec.LookPath(path); err != nil {
				return fmt.Errorf("%s: %w", variable, err)
			}
			t.path[name] = path
		} else if dir := os.Getenv("KUBEBUILDER_ASSETS"); dir != "" {
			if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
				t.path[name] = path
			}
		}
		if path := t.path[name]; path != "" {
			absolute, err := filepath.Abs(path)
			if err != nil {
				return err
			}
			t.path[name] = absolute
		}
	}
	return nil
}

func (t *toolbox) compile(ctx context.Context, c component, position int) error {
	module := filepath.Join(t.dir, "module")
	if err := os.MkdirAll(module, 0o755); err != nil {
		return err
	}
	for name, content := range map[string][]byte{"go.mod": goMod, "go.sum": goSum} {
		if err := os.WriteFile(filepath.Join(module, name), content, 0o644); err != nil {
			return err
		}
	}

	started := time.Now()
	elapsed := func() time.Duration { return time.Since(started).Round(time.Second) }
	say("[%d/%d] building %s %s (%s on two cores) …", position, len(components), c.name, c.version(), c.takes)
	heartbeat := time.NewTicker(30 * time.Second)
	finished := make(chan struct{})
	defer close(finished)
	defer heartbeat.Stop()
	go func() {
		for {
			select {
			case <-heartbeat.C:
				say("[%d/%d] still building %s (%s)", position, len(components), c.name, elapsed())
			case <-finished:
				return
			}
		}
	}()

	// An interrupted build must not leave a binary that looks complete.
	temporary := filepath.Join(t.dir, "."+c.name+".new")
	defer os.Remove(temporary)
	args := append([]string{"build"}, buildFlags()...)
	output, err := goCommand(ctx, module, append(args, "-o", temporary, c.pkg)...).CombinedOutput()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("building %s failed (%w):\n%s", c.name, err, lastLines(output, 20))
	}
	if c.name == "kwok" {
		if err := t.copyStages(ctx, module); err != nil {
			return err
		}
	}
	say("[%d/%d] built %s in %s", position, len(components), c.name, elapsed())
	return os.Rename(temporary, filepath.Join(t.dir, c.name))
}

func goCommand(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	cmd.SysProcAttr = childAttributes()
	// The compilers that go starts share its process group.
	cmd.Cancel = func() error { return killGroup(cmd.Process) }
	return cmd
}
