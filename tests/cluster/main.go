// Command cluster runs a local Kubernetes control plane for tests. etcd,
// kube-apiserver, kube-controller-manager and kube-scheduler are real. kwok
// simulates the node and its kubelet. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
)

const usage = `usage: cluster COMMAND

  build         build the missing binaries into the cache and print their folder
  run           run a cluster in the foreground until SIGINT or SIGTERM
                  --dir DIR              its folder (default: a new temporary one)
                  --audit-log            write an audit log at Metadata level
                  --until-stdin-closes   also end when stdin reaches its end
  up            start a cluster in the background, or find the one that runs
                  --audit-log            as above, when it is started
  down          end the cluster that "up" started
  node --kubeconfig FILE
                add the simulated node to a cluster that exists, until stdin reaches
                its end, SIGINT or SIGTERM
  exec -- PROGRAM [ARGUMENT ...]
                run a program until stdin reaches its end, SIGINT or SIGTERM
  kubectl-path  print the path of kubectl
`

// failure is an error with an exit status of its own.
type failure struct {
	status int
	text   string
}

func (f *failure) Error() string { return f.text }

// The kernel sends a child its parent-death signal when the *thread* that
// forked it ends. The main thread ends last, so it starts all processes.
func init() { runtime.LockOSThread() }

func main() {
	// The first signal starts an orderly shutdown. Later ones must not interrupt it.
	ctx, end := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer end()
	err := command(ctx, end, os.Args[1:])
	if err == nil {
		return
	}
	status := 1
	var f *failure
	if errors.As(err, &f) {
		status = f.status
	}
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	say("%v", err)
	os.Exit(status)
}

func command(ctx context.Context, end context.CancelFunc, args []string) error {
	if len(args) == 0 {
		return wrongUsage("a command is missing")
	}
	if args[0] == "exec" {
		go endWithStdin(end)
		return execute(ctx, args[1:])
	}
	flags := flag.NewFlagSet("cluster", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	var options runOptions
	var kubeconfig string
	switch args[0] {
	case "node":
		flags.StringVar(&kubeconfig, "kubeconfig", "", "")
	case "run":
		flags.StringVar(&options.dir, "dir", "", "")
		flags.BoolVar(&options.untilStdinCloses, "until-stdin-closes", false, "")
		fallthrough
	case "up":
		flags.BoolVar(&options.auditLog, "audit-log", false, "")
	}
	if err := flags.Parse(args[1:]); err != nil {
		return wrongUsage(err.Error())
	}
	if flags.NArg() > 0 {
		return wrongUsage("unexpected argument " + flags.Arg(0))
	}

	switch args[0] {
	case "build":
		tools, err := build(ctx)
		if err == nil {
			fmt.Println(tools.dir)
		}
		return err
	case "kubectl-path":
		tools, err := build(ctx, "kubectl")
		if err == nil {
			fmt.Println(tools.path["kubectl"])
		}
		return err
	case "run":
		if options.untilStdinCloses {
			go endWithStdin(end)
		}
		err := run(ctx, options)
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return nil // ended before it was ready
		}
		return err
	case "node":
		if kubeconfig == "" {
			return wrongUsage("--kubeconfig is missing")
		}
		go endWithStdin(end)
		err := runNode(ctx, kubeconfig)
		if errors.Is(err, context.Canceled) {
			return nil // ended before it was ready
		}
		return err
	case "up":
		return up(ctx, options)
	case "down":
		return down(ctx)
	default:
		return wrongUsage("unknown command " + args[0])
	}
}

// endWithStdin calls end when the process that holds the other end of stdin exits.
func endWithStdin(end context.CancelFunc) {
	io.Copy(io.Discard, os.Stdin)
	end()
}

func wrongUsage(problem string) error {
	return &failure{2, problem + "\n\n" + usage}
}

func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "cluster: "+format+"\n", args...)
}

// cacheDir returns the folder for files that outlive a cluster.
func cacheDir() (string, error) {
	if dir := os.Getenv("PHASEGATE_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "phasegate"), err
}
