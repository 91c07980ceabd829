{#- A model's schema is its product: the folder below models/. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ (custom_schema_name or node.fqn[1]) | trim }}
{%- endmacro %}
