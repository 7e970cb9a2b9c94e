"""The way out: a loopback forwarder of ours that reaches a venue through the user's own proxies."""
