"""A store in a git repository: its merge and diff drivers, conflicts, commits, old trees.

Everything is done by the git command, in processes of its own: it alone knows all forms of
repositories (worktrees, submodules, SHA-256, partial clones), and its locks and
configuration hold.
"""
