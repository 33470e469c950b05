// Judges objects by the health rules in deploy/, with the interpreters that Argo CD and Flux have themselves.
//
// It reads {"objects": [...], "lua": {KIND: SCRIPT}, "cel": {KIND: {"inProgress", "failed", "current"}}} from stdin and writes
// [{"argo", "message", "flux"}], one for each object.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/ext"
	lua "github.com/yuin/gopher-lua"
)

type rules struct {
	Lua     map[string]string
	CEL     map[string]map[string]string
	Objects []map[string]any
}

type verdict struct {
	Argo    string `json:"argo"`
	Message string `json:"message"`
	Flux    string `json:"flux"`
}

func main() {
	log.SetFlags(0)
	var asked rules
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		log.Fatal(err)
	}
	verdicts := make([]verdict, 0, len(asked.Objects))
	for _, object := range asked.Objects {
		kind := fmt.Sprint(object["kind"])
		status, message, err := argo(asked.Lua[kind], object)
		if err != nil {
			log.Fatalf("%s %v: %v", kind, object["metadata"], err)
		}
		word, err := flux(asked.CEL[kind], object)
		if err != nil {
			log.Fatalf("%s %v: %v", kind, object["metadata"], err)
		}
		verdicts = append(verdicts, verdict{status, message, word})
	}
	if err := json.NewEncoder(os.Stdout).Encode(verdicts); err != nil {
		log.Fatal(err)
	}
}

// Argo CD gives a script a second, these libraries and the object as the global obj, and wants a table with a status that it
// knows.
func argo(script string, object map[string]any) (string, string, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage,
		lua.BaseLibName: lua.OpenBase,
		lua.TabLibName:  lua.OpenTable,
	} {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			return "", "", err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(ctx)
	state.SetGlobal("obj", luaValue(state, object))
	if err := state.DoString(script); err != nil {
		return "", "", err
	}
	table, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return "", "", fmt.Errorf("the script returned %s and no table", state.Get(-1).Type())
	}
	status := table.RawGetString("status").String()
	switch status {
	case "Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown":
		return status, table.RawGetString("message").String(), nil
	}
	return "", "", fmt.Errorf("%s is no status of Argo CD", status)
}

func luaValue(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case bool:
		return lua.LBool(value)
	case float64:
		return lua.LNumber(value)
	case string:
		return lua.LString(value)
	case []any:
		table := state.NewTable()
		for _, item := range value {
			table.Append(luaValue(state, item))
		}
		return table
	case map[string]any:
		table := state.NewTable()
		for key, item := range value {
			table.RawSetString(key, luaValue(state, item))
		}
		return table
	}
	return lua.LNil
}

// Flux asks for the generation first, then these rules in this order, and waits where none is true or one cannot be answered.
func flux(exprs map[string]string, object map[string]any) (string, error) {
	status, _ := object["status"].(map[string]any)
	metadata, _ := object["metadata"].(map[string]any)
	if observed, found := status["observedGeneration"]; found && observed != metadata["generation"] {
		return "InProgress", nil
	}
	env, err := cel.NewEnv(cel.HomogeneousAggregateLiterals(), cel.EagerlyValidateDeclarations(true),
		cel.DefaultUTCTimeZone(true), cel.CrossTypeNumericComparisons(true), cel.OptionalTypes(), ext.Strings(), ext.Sets(),
		ext.Encoders())
	if err != nil {
		return "", err
	}
	for _, rule := range []struct{ name, word string }{
		{"inProgress", "InProgress"}, {"failed", "Failed"}, {"current", "Current"},
	} {
		parsed, issues := env.Parse(exprs[rule.name])
		if issues.Err() != nil {
			return "", issues.Err()
		}
		program, err := env.Program(parsed)
		if err != nil {
			return "", err
		}
		answer, _, err := program.Eval(object)
		if err != nil {
			return "Unknown: " + err.Error(), nil
		}
		if answer == types.True {
			return rule.word, nil
		}
		if answer != types.False {
			return "", fmt.Errorf("%s is neither true nor false", rule.name)
		}
	}
	return "InProgress", nil
}
