with conditions_of_encounter as (
    select "ENCOUNTER" as encounter_id, count(*) as condition_count
    from {{ source('healthcare', 'conditions') }}
    group by all
),

medications_of_encounter as (
    select "ENCOUNTER" as encounter_id, count(*) as medication_count
    from {{ source('healthcare', 'medications') }}
    group by all
)

select
    encounters."Id" as encounter_id,
    encounters."PATIENT" as patient_id,
    cast(encounters."START" as integer) as encounter_year,
    encounters."ENCOUNTERCLASS" as encounter_class,
    encounters."CODE" as code,
    encounters."DESCRIPTION" as description,
    {{ money('encounters."BASE_ENCOUNTER_COST"') }} as base_encounter_cost,
    {{ money('encounters."TOTAL_CLAIM_COST"') }} as total_claim_cost,
    {{ money('encounters."PAYER_COVERAGE"') }} as payer_coverage,
    coalesce(conditions_of_encounter.condition_count, 0) as condition_count,
    coalesce(medications_of_encounter.medication_count, 0) as medication_count
from {{ source('healthcare', 'encounters') }} as encounters
left join conditions_of_encounter on encounters."Id" = conditions_of_encounter.encounter_id
left join medications_of_encounter on encounters."Id" = medications_of_encounter.encounter_id
