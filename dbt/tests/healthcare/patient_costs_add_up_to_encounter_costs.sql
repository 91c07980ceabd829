{{ config(meta={'dagster': {'ref': {'name': 'patient_summary'}}}) }}

with patients as (
    select coalesce(sum(total_claim_cost), 0) as total, coalesce(sum(encounter_count), 0) as encounters
    from {{ ref('patient_summary') }}
),

facts as (
    select coalesce(sum(total_claim_cost), 0) as total, count(*) as encounters
    from {{ ref('encounter_facts') }}
)

select patients.total, facts.total as expected
from patients
cross join facts
where patients.total <> facts.total or patients.encounters <> facts.encounters
