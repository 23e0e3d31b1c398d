package main

import (
	"io"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/printers"
)

// output is the choice of -o, as kubectl get has it.
type output struct {
	flags     *genericclioptions.PrintFlags
	noHeaders bool
}

// newOutput adds -o and what belongs to it to the flags of a command.
func newOutput(cmd *cobra.Command) *output {
	scheme, _, err := kinds()
	if err != nil {
		panic(err) // the scheme is made of constants
	}
	o := &output{flags: genericclioptions.NewPrintFlags("").WithTypeSetter(scheme)}
	o.flags.AddFlags(cmd)
	f := cmd.Flags().Lookup("output")
	f.Usage = "table (when left out), wide, or one of " + strings.Join(o.flags.AllowedFormats(), ", ")
	cmd.Flags().BoolVar(&o.noHeaders, "no-headers", false, "leave the header of the table out")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(
		append([]string{"table", "wide"}, o.flags.AllowedFormats()...), cobra.ShellCompDirectiveNoFileComp))
	return o
}

func (o *output) format() string { return *o.flags.OutputFormat }

// table tells whether a person reads, rather than a program.
func (o *output) table() bool {
	switch o.format() {
	case "", "table", "wide":
		return true
	}
	return false
}

// object prints objects for programs.
func (o *output) object(out io.Writer, object runtime.Object) error {
	printer, err := o.flags.ToPrinter()
	if err != nil {
		return misuse("%w; also table and wide", err)
	}
	if o.format() != "name" || !meta.IsListType(object) {
		return printer.PrintObj(object, out)
	}
	return meta.EachListItem(object, func(item runtime.Object) error { return printer.PrintObj(item, out) })
}

// rows prints a table in kubectl's way; columns with a priority are those of -o wide.
func (o *output) rows(out io.Writer, t *metav1.Table, namespaces bool) error {
	printer := printers.NewTablePrinter(printers.PrintOptions{
		Wide: o.format() == "wide", WithNamespace: namespaces, NoHeaders: o.noHeaders,
	})
	return printer.PrintObj(t, out)
}
