"""How it is sent: the load generators, and the HTTP/2 client that one of them is made of."""
