package main

import (
	"context"
	"encoding/json"
	"math/big"
	"os"
	"time"

	"github.com/hamba/avro/v2"
	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kgo"
)

// An input of orders: a member of a consumer group, whose offsets are committed once their calls are answered.
type orders struct {
	kafka, topic, group string
	decode              func([]byte) ([]byte, error)
	client              *kgo.Client
}

func (o *orders) Connect(context.Context) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(o.kafka),
		kgo.ConsumerGroup(o.group),
		kgo.ConsumeTopics(o.topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.AutoCommitMarks(),
		kgo.AutoCommitInterval(time.Second),
	)
	o.client = client
	return err
}

func (o *orders) ReadBatch(ctx context.Context) (service.MessageBatch, service.AckFunc, error) {
	fetches := o.client.PollRecords(ctx, 500)
	if err := fetches.Err0(); err != nil {
		return nil, nil, err
	}
	records := fetches.Records()
	batch := make(service.MessageBatch, 0, len(records))
	for _, record := range records {
		body, err := o.decode(record.Value)
		if err != nil {
			return nil, nil, err
		}
		batch = append(batch, service.NewMessage(body))
	}
	acknowledged := func(_ context.Context, err error) error {
		if err == nil {
			o.client.MarkCommitRecords(records...)
		}
		return nil
	}
	return batch, acknowledged, nil
}

func (o *orders) Close(context.Context) error {
	o.client.Close()
	return nil
}

type address struct {
	Street     string `avro:"street" json:"street"`
	City       string `avro:"city" json:"city"`
	PostalCode string `avro:"postal_code" json:"postal_code"`
	Country    string `avro:"country" json:"country"`
}

type customer struct {
	ID      string  `avro:"id" json:"id"`
	Name    string  `avro:"name" json:"name"`
	Email   string  `avro:"email" json:"email"`
	Address address `avro:"address" json:"address"`
}

type line struct {
	SKU         string   `avro:"sku"`
	Description *string  `avro:"description"`
	Quantity    *big.Rat `avro:"quantity"`
	UnitPrice   *big.Rat `avro:"unit_price"`
}

func (l line) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		SKU         string  `json:"sku"`
		Description *string `json:"description"`
		Quantity    string  `json:"quantity"`
		UnitPrice   string  `json:"unit_price"`
	}{l.SKU, l.Description, l.Quantity.FloatString(4), l.UnitPrice.FloatString(2)})
}

type order struct {
	ID       string    `avro:"id"`
	PlacedAt time.Time `avro:"placed_at"`
	Currency string    `avro:"currency"`
	Customer customer  `avro:"customer"`
	Lines    []line    `avro:"lines"`
	Total    *big.Rat  `avro:"total"`
	Note     *string   `avro:"note"`
}

func (o order) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		ID       string    `json:"id"`
		PlacedAt time.Time `json:"placed_at"`
		Currency string    `json:"currency"`
		Customer customer  `json:"customer"`
		Lines    []line    `json:"lines"`
		Total    string    `json:"total"`
		Note     *string   `json:"note"`
	}{o.ID, o.PlacedAt, o.Currency, o.Customer, o.Lines, o.Total.FloatString(2), o.Note})
}

// What reads an order in Avro, in Confluent's wire format, and writes its JSON.
func decoder(path string) (func([]byte) ([]byte, error), error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	schema, err := avro.Parse(string(text))
	if err != nil {
		return nil, err
	}
	return func(payload []byte) ([]byte, error) {
		var read order
		if err := avro.Unmarshal(schema, payload[5:], &read); err != nil {
			return nil, err
		}
		return json.Marshal(read)
	}, nil
}
