{{ config(meta={'dagster': {'ref': {'name': 'condition_prevalence'}}}) }}

with left_out as (
    select "CODE" as condition_code, count(distinct "PATIENT") as patient_count
    from {{ source('healthcare', 'conditions') }}
    where "CODE" not in (select condition_code from {{ ref('condition_prevalence') }})
    group by all
)

select count(*) as conditions_left_out
from left_out
where exists (from {{ ref('condition_prevalence') }})
having count(*) = 1 or sum(patient_count) < {{ var('smallest_cell') }}
