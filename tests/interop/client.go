// A client in Go, with Google's own gRPC for Go. It knows no contract: it sends the bytes that it is given, and prints
// what came back. Reads exchanges by name as JSON from stdin; does them in turn, all on one connection.
//
//	go run client.go HOST:PORT < exchanges.json
//
//	{"answers": {"method": "/skylane.v1.PredictionService/Predict", "messages": ["<base64>"], "calls": 64}}
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sort"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"
)

type exchange struct {
	Method    string   `json:"method"`
	Messages  [][]byte `json:"messages"`
	Calls     int      `json:"calls"`      // so many of it at once
	Streams   bool     `json:"streams"`    // the end comes in a frame of its own, behind the messages
	TimeoutMs int      `json:"timeout_ms"` // the server is told as well
	Cancels   bool     `json:"cancels"`    // each is given up as soon as it is sent
	Gzip      bool     `json:"gzip"`       // messages are compressed
}

type result struct {
	Code    string   `json:"code"`
	Detail  string   `json:"detail"`
	Replies [][]byte `json:"replies"`
}

// asTheyAre passes messages on without a look at them.
type asTheyAre struct{}

func (asTheyAre) Marshal(message interface{}) ([]byte, error) { return *message.(*[]byte), nil }
func (asTheyAre) Unmarshal(data []byte, message interface{}) error {
	*message.(*[]byte) = append([]byte{}, data...)
	return nil
}
func (asTheyAre) Name() string { return "proto" }

func call(connection *grpc.ClientConn, asked exchange) result {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(asked.TimeoutMs)*time.Millisecond)
	defer cancel()
	options := []grpc.CallOption{grpc.ForceCodec(asTheyAre{})}
	if asked.Gzip {
		options = append(options, grpc.UseCompressor(gzip.Name))
	}
	replies, err := [][]byte{}, error(nil)
	if asked.Streams {
		replies, err = converse(ctx, cancel, connection, asked, options)
	} else {
		var reply []byte
		if err = connection.Invoke(ctx, asked.Method, &asked.Messages[0], &reply, options...); err == nil {
			replies = append(replies, reply)
		}
	}
	ended := status.Convert(err)
	return result{ended.Code().String(), ended.Message(), replies}
}

func converse(
	ctx context.Context, cancel func(), connection *grpc.ClientConn, asked exchange, options []grpc.CallOption,
) ([][]byte, error) {
	both := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	stream, err := connection.NewStream(ctx, both, asked.Method, options...)
	if err != nil {
		return nil, err
	}
	for place := range asked.Messages {
		if err := stream.SendMsg(&asked.Messages[place]); err != nil {
			break // why, is what receiving says
		}
	}
	stream.CloseSend()
	if asked.Cancels {
		cancel()
	}
	replies := [][]byte{}
	for {
		var reply []byte
		if err := stream.RecvMsg(&reply); err == io.EOF {
			return replies, nil
		} else if err != nil {
			return replies, err
		}
		replies = append(replies, reply)
	}
}

func atOnce(connection *grpc.ClientConn, asked exchange) []result {
	results := make([]result, asked.Calls)
	var all sync.WaitGroup
	for place := range results {
		all.Add(1)
		go func(place int) {
			defer all.Done()
			results[place] = call(connection, asked)
		}(place)
	}
	all.Wait()
	return results
}

func run(address string) error {
	var exchanges map[string]exchange
	if err := json.NewDecoder(os.Stdin).Decode(&exchanges); err != nil {
		return err
	}
	connection, err := grpc.Dial(address, grpc.WithInsecure(), grpc.WithBlock())
	if err != nil {
		return err
	}
	defer connection.Close()
	names, results := []string{}, map[string][]result{}
	for name := range exchanges {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		results[name] = atOnce(connection, exchanges[name])
	}
	return json.NewEncoder(os.Stdout).Encode(results)
}

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
