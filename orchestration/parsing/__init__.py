"""Text of users and of the store into values: YAML and its limits, JSON documents, settings checked against types.

Begin with `yaml_file` (a sweep file as plain data) and `validation` (plain data as a config, with every mistake in it).
May import `common` alone.
"""
