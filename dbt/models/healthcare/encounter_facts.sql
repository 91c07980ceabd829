{#-
  No number of diagnoses: less what condition_prevalence shows, it would tell what that leaves out. No code of the
  encounter either: some are a diagnosis (22298006 is myocardial infarction in encounters and in conditions), and
  counting their patients would give such a cell.
-#}
with medications_of_encounter as (
    select "ENCOUNTER" as encounter_id, count(*) as medication_count
    from {{ source('healthcare', 'medications') }}
    group by all
)

select
    encounters."Id" as encounter_id,
    encounters."PATIENT" as patient_id,
    cast(encounters."START" as integer) as encounter_year,
    encounters."ENCOUNTERCLASS" as encounter_class,
    {{ money('encounters."BASE_ENCOUNTER_COST"') }} as base_encounter_cost,
    {{ money('encounters."TOTAL_CLAIM_COST"') }} as total_claim_cost,
    {{ money('encounters."PAYER_COVERAGE"') }} as payer_coverage,
    coalesce(medications_of_encounter.medication_count, 0) as medication_count
from {{ source('healthcare', 'encounters') }} as encounters
left join medications_of_encounter on encounters."Id" = medications_of_encounter.encounter_id
