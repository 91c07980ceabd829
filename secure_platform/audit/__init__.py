"""The tamper-evident audit log: an RFC 6962 Merkle tree over JSON entries, its proofs and its export."""
