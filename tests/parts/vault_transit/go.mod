module certrotd.test/vault-transit

go 1.25.0

require (
	github.com/hashicorp/vault v1.21.4
	github.com/hashicorp/vault/sdk v0.24.0
)
