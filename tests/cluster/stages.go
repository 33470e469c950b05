package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

//go:embed stages.yaml
var ownStages string

// moduleStages are kwok's own stages, below kustomize/stage in its module.
var moduleStages = []string{
	"node/fast/node-initialize.yaml",
	"node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
	"pod/fast/pod-ready.yaml",
	"pod/fast/pod-complete.yaml",
	"pod/fast/pod-delete.yaml",
}

// extraConditions exclude the pods of stages.yaml from kwok's stages. The first
// stage would make these pods ready, the second would complete their Jobs.
var extraConditions = map[string]string{
	"pod-ready.yaml": `    - key: '.spec.containers.[].image | select(test("unpullable|crashing|misconfigured|never-ready|slow-start"))'
      operator: 'DoesNotExist'
`,
	"pod-complete.yaml": `    - key: '.status.conditions.[] | select( .type == "Ready" ) | .status'
      operator: 'In'
      values:
      - 'True'
`,
}

// copyStages copies kwok's stages next to its binary, so that a cluster needs
// neither Go nor the module cache at run time.
func (t *toolbox) copyStages(ctx context.Context, module string) error {
	out, err := goCommand(ctx, module, "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok").Output()
	if err != nil {
		return fmt.Errorf("finding kwok's stages: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(t.dir, "stages"), 0o755); err != nil {
		return err
	}
	for _, stage := range moduleStages {
		text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "kustomize/stage", stage))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(t.dir, "stages", filepath.Base(stage)), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// stages returns kwok's configuration: its own stages and those of stages.yaml.
func (t *toolbox) stages() ([]byte, error) {
	documents := []string{ownStages}
	for _, stage := range moduleStages {
		name := filepath.Base(stage)
		text, err := os.ReadFile(filepath.Join(t.dir, "stages", name))
		if err != nil {
			return nil, err
		}
		document := string(text)
		if extra := extraConditions[name]; extra != "" {
			const list = "    matchExpressions:\n"
			if strings.Count(document, list) != 1 {
				return nil, fmt.Errorf("kwok's %s has another form than expected", name)
			}
			document = strings.Replace(document, list, list+extra, 1)
		}
		documents = append(documents, document)
	}
	return []byte(strings.Join(documents, "\n---\n")), nil
}
