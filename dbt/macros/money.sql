{#-
  Exact decimals: a sum of floating-point numbers depends on the order of the rows, and so would the content digest.
  What does not fit becomes null, which tests report; a failing cast would quote the value.
-#}
{% macro money(column) -%}
    try_cast({{ column }} as decimal(18, 2))
{%- endmacro %}
