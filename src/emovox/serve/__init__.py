"""The service: recognition over HTTP and WebSocket, on the recogniser and the streams of the library."""
