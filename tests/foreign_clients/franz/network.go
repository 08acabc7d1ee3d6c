package main

import (
	"context"
	"errors"
	"net"
	"sync"
)

// A network of one client, which can be cut.
type network struct {
	lock  sync.Mutex
	down  bool
	conns []net.Conn
}

func (n *network) dial(within context.Context, kind, address string) (net.Conn, error) {
	n.lock.Lock()
	defer n.lock.Unlock()
	if n.down {
		return nil, errors.New("the network is cut")
	}
	conn, err := (&net.Dialer{}).DialContext(within, kind, address)
	if err == nil {
		n.conns = append(n.conns, conn)
	}
	return conn, err
}

// cut ends every connection and makes no new ones.
func (n *network) cut() {
	n.lock.Lock()
	defer n.lock.Unlock()
	n.down = true
	for _, conn := range n.conns {
		conn.Close()
	}
}
