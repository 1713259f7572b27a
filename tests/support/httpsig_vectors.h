/* httpsig_vectors.h - the keys and signatures of RFC 9421 (appendix B). */
#pragma once

#define RFC_RSA_PSS                                                                                \
	"-----BEGIN PUBLIC KEY-----\n"                                                             \
	"MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAr4tmm3r20Wd/PbqvP1s2\n"                       \
	"+QEtvpuRaV8Yq40gjUR8y2Rjxa6dpG2GXHbPfvMs8ct+Lh1GH45x28Rw3Ry53mm+\n"                       \
	"oAXjyQ86OnDkZ5N8lYbggD4O3w6M6pAvLkhk95AndTrifbIFPNU8PPMO7OyrFAHq\n"                       \
	"gDsznjPFmTOtCEcN2Z1FpWgchwuYLPL+Wokqltd11nqqzi+bJ9cvSKADYdUAAN5W\n"                       \
	"Utzdpiy6LbTgSxP7ociU4Tn0g5I6aDZJ7A8Lzo0KSyZYoA485mqcO0GVAdVw9lq4\n"                       \
	"aOT9v6d+nb4bnNkQVklLQ3fVAvJm+xdDOp9LCNCN48V2pnDOkFV6+U9nV5oyc6XI\n"                       \
	"2wIDAQAB\n"                                                                               \
	"-----END PUBLIC KEY-----\n"
#define RFC_P256                                                                                   \
	"-----BEGIN PUBLIC KEY-----\n"                                                             \
	"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lf\n"                       \
	"w0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==\n"                           \
	"-----END PUBLIC KEY-----\n"
#define RFC_ED25519                                                                                \
	"-----BEGIN PUBLIC KEY-----\n"                                                             \
	"MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=\n"                           \
	"-----END PUBLIC KEY-----\n"
#define RFC_ED25519_PRIVATE                                                                        \
	"-----BEGIN PRIVATE KEY-----\n"                                                            \
	"MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF\n"                       \
	"-----END PRIVATE KEY-----\n"
#define RFC_SHARED_SECRET                                                                          \
	"{\"kty\":\"oct\",\"kid\":\"test-shared-secret\",\"k\":"                                   \
	"\"uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ" \
	"\"}"

#define B21_INPUT                                                                                  \
	"sig-b21=();created=1618884473;keyid=\"test-key-rsa-pss\";nonce=\"b3k2pp5k7z-50gnwp."      \
	"yemd\""
#define B21_SIGNATURE                                                                              \
	"sig-b21=:d2pmTvmbncD3xQm8E9ZV2828BjQWGgiwAaw5bAkgibUopemLJcWDy/lkbbHAve4cRAtx31Iq786U7"   \
	"it++wgGxbtRxf8Udx7zFZsckzXaJMkA7ChG52eSkFxykJeNqsrWH5S+oxNFlD4dzVuwe8DhTSja8xxbR/Z2cOG"   \
	"dCbzR72rgFWhzx2VjBqJzsPLMIQKhO4DGezXehhWwE56YCE+O6c0mKZsfxVrogUvA4HELjVKWmAvtl6UnCh8jYz"  \
	"uVG5WSb/QEVPnP5TmcAnLH1g+s++v6d4s8m0gCw1fV5/SITLq9mhho8K3+7EPYTU8IU1bLhdxO5Nyt8C8ssinQ9"  \
	"8Xw9Q==:"
#define B22_INPUT                                                                                  \
	"sig-b22=(\"@authority\" \"content-digest\" \"@query-param\";name=\"Pet\");created=161888" \
	"4473;keyid=\"test-key-rsa-pss\";tag=\"header-example\""
#define B22_SIGNATURE                                                                              \
	"sig-b22=:LjbtqUbfmvjj5C5kr1Ugj4PmLYvx9wVjZvD9GsTT4F7GrcQEdJzgI9qHxICagShLRiLMlAJjtq6N4"   \
	"CDfKtjvuJyE5qH7KT8UCMkSowOB4+ECxCmT8rtAmj/0PIXxi0A0nxKyB09RNrCQibbUjsLS/2YyFYXEu4TRJQz"   \
	"Rw1rLEuEfY17SARYhpTlaqwZVtR8NV7+4UKkjqpcAoFqWFQh62s7Cl+H2fjBSpqfZUJcsIk4N6wiKYd4je2U/l"   \
	"ankenQ99PZfB4jY3I5rSV2DSBVkSFsURIjYErOs0tFTQosMTAoxk//0RoKUqiYY8Bh0aaUEb0rQl3/XaVe4bXT"   \
	"ugEjHSw==:"
#define B23_INPUT                                                                                  \
	"sig-b23=(\"date\" \"@method\" \"@path\" \"@query\" \"@authority\" \"content-type\" "      \
	"\"content-digest\" \"content-length\");created=1618884473;keyid=\"test-key-rsa-pss\""
#define B23_SIGNATURE                                                                              \
	"sig-b23=:bbN8oArOxYoyylQQUU6QYwrTuaxLwjAC9fbY2F6SVWvh0yBiMIRGOnMYwZ/5MR6fb0Kh1rIRASVxF"   \
	"keGt683+qRpRRU5p2voTp768ZrCUb38K0fUxN0O0iC59DzYx8DFll5GmydPxSmme9v6ULbMFkl+V5B1TP/yPVi"   \
	"V7KsLNmvKiLJH1pFkh/aYA2HXXZzNBXmIkoQoLd7YfW91kE9o/CCoC1xMy7JA1ipwvKvfrs65ldmlu9bpG6A9B"   \
	"mzhuzF8Eim5f8ui9eH8LZH896+QIF61ka39VBrohr9iyMUJpvRX2Zbhl5ZJzSRxpJyoEZAFL2FUo5fTIztsDZK"   \
	"EgM4cUA==:"
/* of a response, so only the text and the signature */
#define B24_BASE                                                                                   \
	"\"@status\": 200\n\"content-type\": application/json\n\"content-digest\": "               \
	"sha-512=:mEWXIS7MaLRuGgxOBdODa3xqM1XdEvxoYhvlCFJ41QJgJc4GTsPp29l5oGX69wWdXymyU0rjJuahq4"  \
	"l5aGgfLQ==:\n\"content-length\": 23\n\"@signature-params\": (\"@status\" "                \
	"\"content-type\" \"content-digest\" "                                                     \
	"\"content-length\");created=1618884473;keyid=\"test-key-ecc-p256\""
#define B24_SIGNATURE                                                                              \
	"wNmSUAhwb5LxtOtOpNa6W5xj067m5hFrj0XQ4fvpaCLx0NKocgPquLgyahnzDnDAUy5eCdlYUEkLIj+32oiasw==" \
	""
#define B25_INPUT                                                                                  \
	"sig-b25=(\"date\" \"@authority\" \"content-type\");created=1618884473;keyid=\"test-share" \
	"d-secret\""
#define B25_SIGNATURE "sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:"
#define B26_INPUT                                                                                  \
	"sig-b26=(\"date\" \"@method\" \"@path\" \"@authority\" \"content-type\" "                 \
	"\"content-length\");created=1618884473;keyid=\"test-key-ed25519\""
#define B26_SIGNATURE                                                                              \
	"sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5"  \
	"WPpBKRCw==:"
