"""Volumes, snapshots, connections and key-values, as cinderlib knows them, without Cinder."""
