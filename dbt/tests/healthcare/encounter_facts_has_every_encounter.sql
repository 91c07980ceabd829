{{ config(meta={'dagster': {'ref': {'name': 'encounter_facts'}}}) }}

select "Id", "BASE_ENCOUNTER_COST" is null, "TOTAL_CLAIM_COST" is null, "PAYER_COVERAGE" is null
from {{ source('healthcare', 'encounters') }}
except all
select encounter_id, base_encounter_cost is null, total_claim_cost is null, payer_coverage is null
from {{ ref('encounter_facts') }}
