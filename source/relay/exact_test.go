package relay

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"
)

// outcome is all that the two sides of a connection can tell of it.
type outcome struct {
	atServer, atClient   []byte
	serverEnd, clientEnd string
}

// ways to end a connection, each by one side, and all that the other then sees.
var ways = map[string]func(t *testing.T, client, server *net.TCPConn) (serverEnd, clientEnd string){
	"the desktop half-closes": func(t *testing.T, client, server *net.TCPConn) (string, string) {
		must(t, client.CloseWrite())
		atServer := end(server)
		write(t, server, "still here")
		wantRead(t, client, "still here")
		must(t, server.Close())
		return atServer, end(client)
	},
	"the server half-closes": func(t *testing.T, client, server *net.TCPConn) (string, string) {
		must(t, server.CloseWrite())
		atClient := end(client)
		write(t, client, "still here")
		wantRead(t, server, "still here")
		must(t, client.Close())
		return end(server), atClient
	},
	"the desktop closes": func(t *testing.T, client, server *net.TCPConn) (string, string) {
		must(t, client.Close())
		return end(server), ""
	},
	"the server closes": func(t *testing.T, client, server *net.TCPConn) (string, string) {
		must(t, server.Close())
		return "", end(client)
	},
	"the desktop resets": func(_ *testing.T, client, server *net.TCPConn) (string, string) {
		reset(client)
		return end(server), ""
	},
	"the server resets": func(_ *testing.T, client, server *net.TCPConn) (string, string) {
		reset(server)
		return "", end(client)
	},
	"the desktop resets after the server half-closed": func(t *testing.T, client, server *net.TCPConn) (string, string) {
		must(t, server.CloseWrite())
		atClient := end(client)
		reset(client)
		return end(server), atClient
	},
	"the desktop closes with bytes unread": func(t *testing.T, client, server *net.TCPConn) (string, string) {
		write(t, server, "TRY_REQ")
		one := make([]byte, 1)
		if _, err := io.ReadFull(client, one); err != nil {
			t.Fatal(err)
		}
		must(t, client.Close()) // which the kernel turns into a reset
		return end(server), ""
	},
}

// talk sends seeded random bytes both ways at once, in random pieces, and returns
// what each side got of what the other sent.
func talk(t *testing.T, client, server net.Conn, seed uint64) (atServer, atClient []byte) {
	t.Helper()
	// made is what a side sends; the same random source then splits it.
	made := func(random *rand.Rand) []byte {
		data := make([]byte, 1+random.IntN(300_000))
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		return data
	}
	send := func(conn net.Conn, random *rand.Rand) {
		for data := made(random); len(data) > 0; {
			n := min(len(data), 1+random.IntN(1<<random.IntN(15)))
			if _, err := conn.Write(data[:n]); err != nil {
				t.Errorf("write: %v", err)
			}
			data = data[n:]
		}
	}
	var all sync.WaitGroup
	all.Go(func() { send(client, rand.New(rand.NewPCG(seed, 1))) })
	all.Go(func() { send(server, rand.New(rand.NewPCG(seed, 2))) })
	read := func(conn net.Conn, side uint64, into *[]byte) {
		want := made(rand.New(rand.NewPCG(seed, side)))
		*into = make([]byte, len(want))
		if n, err := io.ReadFull(conn, *into); err != nil || !bytes.Equal(*into, want) {
			t.Errorf("read %d of %d bytes, %v, or others than were sent", n, len(want), err)
		}
	}
	all.Go(func() { read(server, 1, &atServer) })
	all.Go(func() { read(client, 2, &atClient) })
	all.Wait()
	return atServer, atClient
}

func TestADesktopSeesWhatItWouldSeeWithoutTheRelay(t *testing.T) {
	server := newPlainServer(t)
	r := newRig(t, server.address(), rigOptions{})
	run := func(t *testing.T, address string, seed uint64, way func(*testing.T, *net.TCPConn, *net.TCPConn) (string, string)) (o outcome) {
		client := connect(t, address)
		accepted := server.next(t)
		o.atServer, o.atClient = talk(t, client, accepted, seed)
		o.serverEnd, o.clientEnd = way(t, client, accepted)
		return o
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(4) {
				direct := run(t, server.address(), seed, way)
				relayed := run(t, r.address(), seed, way)
				if !bytes.Equal(direct.atServer, relayed.atServer) || !bytes.Equal(direct.atClient, relayed.atClient) {
					t.Fatalf("seed %d: the bytes differ: %d and %d direct, %d and %d relayed", seed,
						len(direct.atServer), len(direct.atClient), len(relayed.atServer), len(relayed.atClient))
				}
				if direct.serverEnd != relayed.serverEnd || direct.clientEnd != relayed.clientEnd {
					t.Fatalf("seed %d: the server's end was %q, the desktop's %q; directly %q and %q", seed,
						relayed.serverEnd, relayed.clientEnd, direct.serverEnd, direct.clientEnd)
				}
			}
		})
	}
	eventually(t, "all places are free again", func() bool { return r.source.Status().Wanted == 0 })
	if got := r.counter(t, "callpop.relay.clients", ""); got != 0 {
		t.Errorf("callpop.relay.clients is %d after the last one left", got)
	}
}

func TestWhatTheServerSendsToAClosedDesktopResetsIt(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere the second write finds it")
	}
	server := newPlainServer(t)
	r := newRig(t, server.address(), rigOptions{})
	for _, address := range []string{server.address(), r.address()} {
		client := connect(t, address)
		accepted := server.next(t)
		must(t, client.Close())
		if got := end(accepted); got != "EOF" {
			t.Fatalf("%s: got %q, want EOF", address, got)
		}
		write(t, accepted, "TRY_REQ") // one write, and no more
		if got := awaitWithin(t, accepted); got != "reset" {
			t.Errorf("%s: got %q, want a reset", address, got)
		}
	}
	// And the other way round: a desktop that talks to a server that is gone.
	for _, address := range []string{server.address(), r.address()} {
		client := connect(t, address)
		accepted := server.next(t)
		must(t, accepted.Close())
		if got := end(client); got != "EOF" {
			t.Fatalf("%s: got %q, want EOF", address, got)
		}
		write(t, client, "TRY_REP")
		if got := awaitWithin(t, client); got != "reset" {
			t.Errorf("%s: got %q, want a reset", address, got)
		}
	}
	eventually(t, "all places are free again", func() bool { return r.source.Status().Wanted == 0 })
}

// awaitWithin waits for the reset of a connection that was read to its end.
func awaitWithin(t *testing.T, conn *net.TCPConn) string {
	t.Helper()
	must(t, conn.SetDeadline(time.Now().Add(patience)))
	err := awaitReset(conn)
	if err == nil {
		return "nothing"
	}
	return kind(err)
}

func TestASlowReaderSlowsItsSenderAsWithoutTheRelay(t *testing.T) {
	for name, sides := range map[string]func(client, server *net.TCPConn) (from, to *net.TCPConn){
		"desktop": func(client, server *net.TCPConn) (*net.TCPConn, *net.TCPConn) { return server, client },
		"server":  func(client, server *net.TCPConn) (*net.TCPConn, *net.TCPConn) { return client, server },
	} {
		t.Run(name, func(t *testing.T) {
			server := newPlainServer(t)
			r := newRig(t, server.address(), rigOptions{})
			client := connect(t, r.address())
			from, to := sides(client, server.next(t))

			const most = 256 << 20
			piece := bytes.Repeat([]byte("0123456789abcdef"), 4<<10)
			sent := 0
			for sent < most {
				must(t, from.SetWriteDeadline(time.Now().Add(300*time.Millisecond)))
				n, err := from.Write(piece[sent%16:])
				sent += n
				if err != nil {
					break
				}
			}
			if sent >= most {
				t.Fatalf("%d bytes went to a reader that does not read: they are held somewhere", sent)
			}
			must(t, from.CloseWrite())
			must(t, to.SetDeadline(time.Now().Add(patience)))
			got, err := io.ReadAll(to)
			if err != nil || len(got) != sent {
				t.Fatalf("%d of %d bytes arrived: %v", len(got), sent, err)
			}
			for i, b := range got {
				if b != piece[i%16] {
					t.Fatalf("byte %d is %q", i, b)
				}
			}
		})
	}
}

func TestAPieceIsPassedOnAtOnceAndWhole(t *testing.T) {
	server := newPlainServer(t)
	r := newRig(t, server.address(), rigOptions{})
	client := connect(t, r.address())
	accepted := server.next(t)
	// Each waits for the last: nothing may be held back for more to come. A read
	// sees a whole piece, as clients that take a read for a pop need it.
	for i := range 50 {
		for _, ends := range [][2]*net.TCPConn{{client, accepted}, {accepted, client}} {
			piece := fmt.Sprintf("%*d", 1+i*8, i)
			write(t, ends[0], piece)
			buffer := make([]byte, 2*len(piece))
			n, err := ends[1].Read(buffer)
			if err != nil || string(buffer[:n]) != piece {
				t.Fatalf("read %q, %v; want %q", buffer[:n], err, piece)
			}
		}
	}
}

// Invariants: whatever either side sends and however it is split, the other side
// gets those bytes and then an end in order; the tap does not panic.
func FuzzNoInputChangesWhatIsRelayed(f *testing.F) {
	f.Add([]byte("op=801,ch=-1;TRY_REP"), []byte("TRY_REQ\x03H=1"), byte(3))
	f.Add([]byte{}, []byte("\x05hello\x05worldTRY_REQ"), byte(1))
	f.Add(bytes.Repeat([]byte("op="), 700), bytes.Repeat([]byte{255, 'x'}, 2000), byte(255))
	server := newPlainServer(f)
	r := newRig(f, server.address(), rigOptions{})
	f.Fuzz(func(t *testing.T, up, down []byte, step byte) {
		client := connect(t, r.address())
		accepted := server.next(t)
		var all sync.WaitGroup
		send := func(conn *net.TCPConn, data []byte) {
			for len(data) > 0 {
				n := min(len(data), 1+int(step)*int(step))
				if _, err := conn.Write(data[:n]); err != nil {
					t.Errorf("write: %v", err)
				}
				data = data[n:]
			}
			if err := conn.CloseWrite(); err != nil {
				t.Errorf("half-close: %v", err)
			}
		}
		receive := func(conn *net.TCPConn, want []byte) {
			if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, want) {
				t.Errorf("got %q, %v; want %q", got, err, want)
			}
		}
		all.Go(func() { send(client, up) })
		all.Go(func() { send(accepted, down) })
		all.Go(func() { receive(client, down) })
		all.Go(func() { receive(accepted, up) })
		all.Wait()
		_, _ = client.Close(), accepted.Close()
		if got := r.counter(t, "callpop.relay.tap_panics", ""); got != 0 {
			t.Errorf("%d panics: %s", got, r.logs)
		}
	})
}
