// Franz runs cases of franz-go against one broker: `franz ADDRESS` reads the names of cases, a line
// each, and prints what each of them saw as lines of `case<TAB>call<TAB>answer`, ended by one of
// `case<TAB>.`. A case that fails prints `case<TAB>!<TAB>reason`. They run at the same time.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"sync"
)

var cases = map[string]func(*check){
	"acknowledgements":        acknowledgements,
	"codecs":                  codecs,
	"idempotence":             idempotence,
	"record_shapes":           recordShapes,
	"refused_records":         refusedRecords,
	"append_time":             appendTime,
	"reading_by_offset":       readingByOffset,
	"large_records":           largeRecords,
	"balancers":               balancers,
	"cooperative_moves":       cooperativeMoves,
	"static_members":          staticMembers,
	"silent_members":          silentMembers,
	"commits":                 commits,
	"strangers_to_a_group":    strangersToAGroup,
	"newer_groups":            newerGroups,
	"topics":                  topics,
	"partitions":              partitions,
	"deleted_records":         deletedRecords,
	"listed_offsets":          listedOffsets,
	"settings":                settings,
	"defaults":                defaults,
	"altered_settings":        alteredSettings,
	"cluster":                 cluster,
	"groups":                  groups,
	"group_offsets":           groupOffsets,
	"producers":               producers,
	"security":                security,
	"clustering":              clustering,
	"commit_and_abort":        commitAndAbort,
	"offsets_in_transactions": offsetsInTransactions,
	"zombies":                 zombies,
	"transaction_timeouts":    transactionTimeouts,
	"described_transactions":  describedTransactions,
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: franz ADDRESS, and the names of cases as input")
		os.Exit(2)
	}
	var output sync.Mutex
	var running sync.WaitGroup
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		name := input.Text()
		running.Go(func() {
			lines := run(os.Args[1], name)
			output.Lock()
			defer output.Unlock()
			for _, line := range append(lines, ".") {
				fmt.Printf("%s\t%s\n", name, line)
			}
		})
	}
	running.Wait()
}

// run runs a case, and returns its lines.
func run(address, name string) []string {
	act, known := cases[name]
	if !known {
		return []string{"!\tthere is no such case"}
	}
	c := newCheck(address, name)
	defer c.close()
	func() {
		defer func() {
			if reason := recover(); reason != nil {
				c.note("!", fmt.Sprint(reason))
			}
		}()
		c.ready()
		act(c)
	}()
	return c.lines
}

// oneLine keeps a text on one line of one column.
func oneLine(text string) string {
	return strings.NewReplacer("\n", " ", "\t", " ", "|", "/").Replace(text)
}
