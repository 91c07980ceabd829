{#-
  No number of diagnoses: less what condition_prevalence shows, it would tell what that leaves out.
-#}
with encounters_of_patient as (
    select
        "PATIENT" as patient_id,
        count(*) as encounter_count,
        min("START") as first_encounter_year,
        max("START") as last_encounter_year,
        sum({{ money('"TOTAL_CLAIM_COST"') }}) as total_claim_cost,
        sum({{ money('"PAYER_COVERAGE"') }}) as payer_coverage
    from {{ source('healthcare', 'encounters') }}
    group by all
),

medications_of_patient as (
    select "PATIENT" as patient_id, count(*) as medication_count
    from {{ source('healthcare', 'medications') }}
    group by all
),

observations_of_patient as (
    select "PATIENT" as patient_id, count(*) as observation_count
    from {{ source('healthcare', 'observations') }}
    group by all
)

select
    patients."Id" as patient_id,
    cast(patients."BIRTHDATE" as integer) as birth_year,
    patients."DEATHDATE" is not null as is_deceased,
    patients."GENDER" as gender,
    patients."RACE" as race,
    patients."ETHNICITY" as ethnicity,
    patients."MARITAL" as marital_status,
    patients."STATE" as state,
    patients."ZIP" as zip3,
    cast(encounters_of_patient.first_encounter_year as integer) as first_encounter_year,
    cast(encounters_of_patient.last_encounter_year as integer) as last_encounter_year,
    coalesce(encounters_of_patient.encounter_count, 0) as encounter_count,
    coalesce(medications_of_patient.medication_count, 0) as medication_count,
    coalesce(observations_of_patient.observation_count, 0) as observation_count,
    cast(coalesce(encounters_of_patient.total_claim_cost, 0) as decimal(18, 2)) as total_claim_cost,
    cast(coalesce(encounters_of_patient.payer_coverage, 0) as decimal(18, 2)) as payer_coverage
from {{ source('healthcare', 'patients') }} as patients
left join encounters_of_patient on patients."Id" = encounters_of_patient.patient_id
left join medications_of_patient on patients."Id" = medications_of_patient.patient_id
left join observations_of_patient on patients."Id" = observations_of_patient.patient_id
