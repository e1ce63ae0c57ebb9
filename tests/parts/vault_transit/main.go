// The transit engine of HashiCorp Vault behind a small HTTP server, for tests alone: real keys,
// ciphertexts and errors, in memory. Vault's own server (seal, policies, tokens with a lifetime,
// audit) is not here: one token is all there is, and the environment gives it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"

	"github.com/hashicorp/vault/builtin/logical/transit"
	"github.com/hashicorp/vault/sdk/logical"
)

var operations = map[string]logical.Operation{
	"GET":    logical.ReadOperation,
	"LIST":   logical.ListOperation,
	"DELETE": logical.DeleteOperation,
	"POST":   logical.UpdateOperation,
	"PUT":    logical.UpdateOperation,
}

type server struct {
	backend logical.Backend
	storage logical.Storage
	token   string
	mount   string
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/v1/sys/health" {
		answer(w, http.StatusOK, map[string]any{"initialized": true, "sealed": false})
		return
	}
	if r.Header.Get("X-Vault-Token") != s.token {
		fail(w, http.StatusForbidden, "permission denied")
		return
	}
	path, found := strings.CutPrefix(r.URL.Path, "/v1/"+s.mount+"/")
	operation, known := operations[r.Method]
	if !found || !known {
		fail(w, http.StatusNotFound, "no handler for route "+r.URL.Path)
		return
	}
	request := &logical.Request{Operation: operation, Path: path, Storage: s.storage}
	if err := read(r, request); err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	s.handle(r.Context(), w, request)
}

func read(r *http.Request, request *logical.Request) error {
	request.Data = map[string]any{}
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil || len(body) == 0 {
		return err
	}
	return json.Unmarshal(body, &request.Data)
}

func (s *server) handle(ctx context.Context, w http.ResponseWriter, request *logical.Request) {
	if request.Operation == logical.UpdateOperation {
		checked, exists, err := s.backend.HandleExistenceCheck(ctx, request)
		if err != nil {
			fail(w, http.StatusInternalServerError, err.Error())
			return
		}
		if checked && !exists {
			request.Operation = logical.CreateOperation
		}
	}
	response, err := s.backend.HandleRequest(ctx, request)
	status, err := logical.RespondErrorCommon(request, response, err)
	switch {
	case errors.Is(err, logical.ErrUnsupportedPath):
		fail(w, http.StatusNotFound, err.Error())
		return
	case err != nil:
		fail(w, max(status, http.StatusBadRequest), err.Error())
		return
	case status != 0: // what is not there
		answer(w, status, map[string]any{"errors": []string{}})
		return
	}
	if response == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	answer(w, http.StatusOK, map[string]any{"data": response.Data, "warnings": response.Warnings})
}

func answer(w http.ResponseWriter, status int, content any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(content); err != nil {
		log.Print(err)
	}
}

func fail(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]any{"errors": []string{message}})
}

func main() {
	if len(os.Args) != 3 || os.Getenv("TRANSIT_TOKEN") == "" {
		fmt.Fprintln(os.Stderr, "usage: TRANSIT_TOKEN=… vault-transit ADDRESS MOUNT")
		os.Exit(2)
	}
	ctx := context.Background()
	storage := &logical.InmemStorage{}
	config := &logical.BackendConfig{System: logical.TestSystemView(), StorageView: storage}
	backend, err := transit.Factory(ctx, config)
	if err != nil {
		log.Fatal(err)
	}
	if err := backend.Initialize(ctx, &logical.InitializationRequest{Storage: storage}); err != nil {
		log.Fatal(err)
	}
	handler := &server{backend, storage, os.Getenv("TRANSIT_TOKEN"), os.Args[2]}
	log.Fatal(http.ListenAndServe(os.Args[1], handler))
}
