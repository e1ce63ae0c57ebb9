"""The API of a Kubernetes cluster, and the state that certrotd keeps in it."""
