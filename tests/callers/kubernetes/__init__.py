"""Kubernetes' side of the CRI: as much of a kubelet as the tests need. Debian has no crictl and the test host no Python,
so what is asked goes from here through the host's agent to containerd.

    protobuf.py  messages to bytes and back, by the definitions of runtime.proto
    grpc.py      calls over HTTP/2
    kubelet.py   pods and containers
    service.py   containerd, as docs/callers.md configures it
    terminal.py  `kubectl exec -it`: a WebSocket to containerd's streaming server
"""
