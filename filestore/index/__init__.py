"""Indexes over the documents of any backend: values of top-level fields to ids."""

from filestore.index.indexes import Indexes

__all__ = ["Indexes"]
