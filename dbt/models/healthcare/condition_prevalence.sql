{#-
  A condition is shown when neither the patients who have it nor the patients who do not are a small cell: with the
  number of all patients, which other marts show, one is the difference of the other. Conditions overlap and have
  no total of their own, so no condition that is left out can be computed from those shown.
-#}
{% set smallest = var('smallest_cell') %}

with total as (
    select count(*) as patient_count
    from {{ source('healthcare', 'patients') }}
),

cells as (
    select
        conditions."CODE" as condition_code,
        min(conditions."DESCRIPTION") as description,
        count(distinct conditions."PATIENT") as patient_count
    from {{ source('healthcare', 'conditions') }} as conditions
    inner join {{ source('healthcare', 'patients') }} as patients on conditions."PATIENT" = patients."Id"
    group by conditions."CODE"
)

select
    cells.condition_code,
    cells.description,
    cells.patient_count,
    cells.patient_count / total.patient_count as prevalence
from cells
cross join total
where
    cells.patient_count >= {{ smallest }}
    and total.patient_count - cells.patient_count >= {{ smallest }}
