//! Bitcoin Core's adapter against a scripted server.
