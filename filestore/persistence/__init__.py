"""Where resources are kept: the plugin interface of cinderlib, without Cinder."""
