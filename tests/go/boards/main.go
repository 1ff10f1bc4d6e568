// Reads dashboards as strictly as Grafana's published schema allows; prints what is wrong in each, and ends with 1 where something is.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func wrong(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return err
	}
	// They are of the form of an export, not of the schema of a dashboard.
	delete(fields, "__inputs")
	delete(fields, "__requires")
	if text, err = json.Marshal(fields); err != nil {
		return err
	}
	var board dashboard.Dashboard
	// An empty list of errors arrives as an error that is not nil and says nothing.
	if err := board.UnmarshalJSONStrict(text); err != nil && err.Error() != "" {
		return err
	}
	return board.Validate()
}

func main() {
	plugins.RegisterDefaultPlugins()
	status := 0
	for _, path := range os.Args[1:] {
		if err := wrong(path); err != nil {
			fmt.Printf("%s: %v\n", path, err)
			status = 1
		}
	}
	os.Exit(status)
}
