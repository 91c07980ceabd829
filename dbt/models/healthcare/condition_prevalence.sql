{#-
  A condition is shown when neither the patients who have it nor the patients who do not are a small cell: with
  the number of all patients, which other marts show, one is the difference of the other. The conditions left out
  are a cell too: where each diagnosis is recorded once, the number of diagnoses, which a release's manifest tells,
  less those shown is their sum. Where that is one condition alone or small, the smallest of the rest joins them.
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
),

judged as (
    select
        cells.*,
        cells.patient_count / total.patient_count as prevalence,
        cells.patient_count between {{ smallest }} and total.patient_count - {{ smallest }} as is_large
    from cells
    cross join total
),

ranked as (
    select
        *,
        count(*) filter (where not is_large) over () as small_cells,
        sum(patient_count) filter (where not is_large) over () as patients_left_out,
        row_number() over (partition by is_large order by patient_count, condition_code) as position
    from judged
)

select condition_code, description, patient_count, prevalence
from ranked
where
    is_large
    and (position > 1 or small_cells = 0 or (small_cells > 1 and patients_left_out >= {{ smallest }}))
