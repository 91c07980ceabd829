{{ config(meta={'dagster': {'ref': {'name': 'patient_summary'}}}) }}

select "Id" from {{ source('healthcare', 'patients') }}
except all
select patient_id from {{ ref('patient_summary') }}
