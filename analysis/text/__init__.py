"""Results in plain text cells and sentences, which every output format renders. Pure.

Begin with `text_tables`, the sections of the table; `comparison_text` puts the paper's numbers beside them. `caveats`,
`notices`, `order_text`, `power_text` and `significance_text` write the sentences, `cost_tables`, `difference_tables`
and `protocol_tables` the other tables. It imports `results`, `comparison` and what is below.
"""
