"""Published examples of numbers: specimens, worked examples of check digits, test values of the issuers."""

from collections.abc import Mapping
from types import MappingProxyType

KNOWN: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "payment_card": (
            "4111111111111111",
            "5555555555554444",
            "378282246310005",
        ),  # the networks' test cards
        "us_ssn": ("219-09-9999",),  # SSA pamphlet of 1940
        "iban": ("GB82 WEST 1234 5698 7654 32", "DE89370400440532013000"),  # ISO 13616, IBAN Registry
        "us_npi": ("1234567893",),  # CMS, check digit calculation
        "au_medicare": ("2123 45670 1", "2428 77813 2"),
        "crypto_address": (
            "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",  # block 0
            "3P14159f73E4gFr7JterCCQh9QjiTjiZrG",  # BIP 13
            "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",  # BIP 173
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",  # EIP-55
        ),
        "de_health_insurance": ("A123456780",),  # Vertrauensstelle Krankenversichertennummer
        "de_social_security": ("15070649C103", "65 170839 J 003"),  # Deutsche Rentenversicherung
        "hk_hkid": ("G123456(A)", "A123456(3)", "AB987654(3)", "C123456(9)"),
        "iccid": ("8991101200003204514",),  # ITU-T E.118
        "mx_clabe": ("032180000118359719", "002010077777777771"),  # Banco de México
        "nz_nhi": ("ZZZ0016", "ZAC5361", "ZBN77VL", "ZVB97XQ"),  # HISO 10046
        "passport_mrz": ("L898902C36UTO7408122F1204159ZE184226B<<<<<10",),  # ICAO Doc 9303-4, specimen
        "ru_snils": ("112-233-445 95",),  # PFR 192p
        "sg_nric": ("S1234567D", "T1234567J", "F1234567N", "G1234567X"),
        "tw_nid": ("A123456789",),
        "uk_nino": ("AB123456C",),  # HMRC NIM39110
        "us_dea": ("AB1234563", "F91234563"),
        "vin": ("1M8GDM9AXKP042788", "11111111111111111"),  # 49 CFR 565, worked example
        "stdnum.ar.cuit": ("20-05536168-2",),
        "stdnum.ar.dni": ("20.123.456",),
        "stdnum.at.vnr": ("1237 010180",),
        "stdnum.au.tfn": ("123 456 782",),  # ATO, check digit
        "stdnum.be.nn": ("85.07.30-033.28", "17 07 30 033 84"),  # Rijksregister
        "stdnum.bg.egn": ("7523169263",),
        "stdnum.bic": ("DEUTDEFF", "DEUTDEFF500"),
        "stdnum.br.cnpj": ("11.222.333/0001-81",),  # Receita Federal
        "stdnum.br.cpf": ("111.444.777-35",),  # Receita Federal
        "stdnum.ca.sin": ("123-456-782",),
        "stdnum.ch.ssn": ("756.9217.0769.85",),  # ZAS, specimen
        "stdnum.cl.rut": ("12.345.678-5", "76.086.428-5"),
        "stdnum.cn.ric": ("11010519491231002X",),  # GB 11643-1999
        "stdnum.cz.rc": ("736028/5163",),
        "stdnum.de.idnr": ("36 574 261 809", "86095742719"),  # ELSTER
        "stdnum.dk.cpr": ("211062-5629",),
        "stdnum.do.cedula": ("001-1391820-5",),
        "stdnum.ec.ci": ("171430710-3",),
        "stdnum.ee.ik": ("37605030299",),
        "stdnum.es.dni": ("12345678Z", "99999999R"),  # Ministerio del Interior, specimen
        "stdnum.es.nie": ("X1234567L",),
        "stdnum.eu.vat": ("BE 428759497", "DE136695976"),
        "stdnum.fi.hetu": ("131052-308T",),  # DVV
        "stdnum.fr.nif": ("30 23 217 600 053",),  # impots.gouv.fr
        "stdnum.fr.nir": ("2 55 08 14 168 025 38",),
        "stdnum.gb.nhs": ("943 476 5919",),  # NHS Data Dictionary
        "stdnum.gb.utr": ("1955839661",),
        "stdnum.gr.amka": ("01013099997",),
        "stdnum.hr.oib": ("33392005961",),
        "stdnum.id.nik": ("3171011708450001",),
        "stdnum.ie.pps": ("1234567T", "1234567FA"),  # Department of Social Protection
        "stdnum.il.idnr": ("3933742-3",),
        "stdnum.imei": ("490154203237518", "35-209900-176148-1"),  # 3GPP TS 23.003, GSMA TS.06
        "stdnum.imsi": ("310150123456789",),
        "stdnum.in_.aadhaar": ("234123412346",),
        "stdnum.in_.epic": ("WKH1186253",),
        "stdnum.in_.pan": ("ACUPA7085R",),
        "stdnum.is_.kennitala": ("120174-3399",),  # Þjóðskrá
        "stdnum.it.codicefiscale": ("RSSMRA85T10A562S", "RCCMNL83S18D969H"),
        "stdnum.jp.in_": ("123456789018",),
        "stdnum.ke.pin": ("P051365947M",),
        "stdnum.kr.rrn": ("971013-9019902",),
        "stdnum.lei": ("213800KUD8LAJWSQ9D15", "5493001KJTIIGC8Y1R12"),  # ISO 17442, GLEIF
        "stdnum.lt.asmens": ("33309240064",),
        "stdnum.meid": ("AF 01 23 45 0A BC DE C", "29360 87365 0070 3710 0"),  # 3GPP2 S.R0048-A
        "stdnum.mx.curp": ("BOXW310820HNERXN09",),  # RENAPO
        "stdnum.mx.rfc": ("GODE561231GR8",),  # SAT
        "stdnum.my.nric": ("770305-02-1234",),
        "stdnum.nl.bsn": ("111222333", "1112.22.333"),  # RvIG, test number
        "stdnum.no.fodselsnummer": ("151086 95088",),
        "stdnum.nz.ird": ("49-091-850", "136-410-132"),  # Inland Revenue, validation specification
        "stdnum.pk.cnic": ("34201-0891231-8",),
        "stdnum.pl.pesel": ("44051401359",),
        "stdnum.pt.cc": ("00000000 0 ZZ4",),  # Autenticação.gov
        "stdnum.pt.nif": ("123456789",),
        "stdnum.ro.cnp": ("1630615123457",),
        "stdnum.ru.inn": ("500100732259", "7830002293"),  # FNS
        "stdnum.se.personnummer": ("811218-9876", "19811218-9876"),  # Skatteverket
        "stdnum.si.emso": ("0101006500006",),
        "stdnum.th.pin": ("1-2345-45678-78-1",),
        "stdnum.tr.tckimlik": ("10000000146",),
        "stdnum.ua.rntrc": ("1759013776",),
        "stdnum.us.ein": ("04-2103594",),
        "stdnum.us.itin": ("912-90-3456",),
        "stdnum.us.ptin": ("P-00634642",),
        "stdnum.us.rtn": ("111000025", "021000021"),  # Federal Reserve directory
        "stdnum.za.idnr": ("800101 5009 087", "7503305044089"),
    }
)
