// Orders from a topic to an address with Benthos: KAFKA TOPIC URL ORDER.AVSC STREAMS GROUP
//
// A stream keeps a partition's order only with one call in flight, so there are several, each with its own member of
// the consumer group. Franz-go reads, hamba/avro decodes into a struct.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"

	_ "github.com/redpanda-data/benthos/v4/public/components/io"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"
)

const stream = `
input:
  orders: {}
output:
  http_client:
    url: %s
    verb: POST
    headers: { Content-Type: application/json }
    max_in_flight: 1
    retries: 3
logger: { level: WARN }
`

func main() {
	kafka, topic, url, schema := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	streams, err := strconv.Atoi(os.Args[5])
	check(err)
	decode, err := decoder(schema)
	check(err)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	service.MustRegisterBatchInput("orders", service.NewConfigSpec(),
		func(*service.ParsedConfig, *service.Resources) (service.BatchInput, error) {
			return &orders{kafka: kafka, topic: topic, group: os.Args[6], decode: decode}, nil
		})
	var running sync.WaitGroup
	for range streams {
		builder := service.NewStreamBuilder()
		check(builder.SetYAML(fmt.Sprintf(stream, url)))
		built, err := builder.Build()
		check(err)
		running.Go(func() {
			if err := built.Run(ctx); err != nil && ctx.Err() == nil {
				check(err)
			}
		})
	}
	running.Wait()
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
