module lectr.example/subscribers

go 1.19

require (
	github.com/nats-io/nats.go v1.22.1
	google.golang.org/protobuf v1.28.1
)
