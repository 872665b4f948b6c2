"""The start of a program: its command line, and what the shell, container or launcher around it would do to libraries.

Begin with `program_start`, which every entry point calls before it imports anything heavy; `command_line` is the parser
of them all. May import `common` alone.
"""
