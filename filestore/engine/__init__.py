"""The file backend: readable files, a write-ahead journal, locks, recovery."""
