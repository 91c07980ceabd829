{{ config(meta={'dagster': {'ref': {'name': 'condition_prevalence'}}}) }}

with patients as (
    select count(*) as patient_count
    from {{ ref('patient_summary') }}
)

select conditions.condition_code
from {{ ref('condition_prevalence') }} as conditions
cross join patients
where
    conditions.patient_count < {{ var('smallest_cell') }}
    or patients.patient_count - conditions.patient_count < {{ var('smallest_cell') }}
    or round(conditions.prevalence * patients.patient_count) <> conditions.patient_count
