/* certificates.h - certificates made for tests: a root, an intermediate, and what they issued.
 *
 * The key of the RSA certificates is the published example of RFC 7515 (appendix A.2). In force
 * from 2020 to 2045, CERT_OLD until 2021. The signatures are over CERT_TEXT. */
#pragma once

#define CERT_ROOT                                                                                  \
	"-----BEGIN CERTIFICATE-----\n"                                                            \
	"MIIBYTCCAQigAwIBAgIICYTLnfXgXtIwCgYIKoZIzj0EAwIwHDEaMBgGA1UEAwwR\n"                       \
	"cG9zdGVybiB0ZXN0IHJvb3QwIBcNMjAwMTAxMDAwMDAwWhgPMjA1MDAxMDEwMDAw\n"                       \
	"MDBaMBwxGjAYBgNVBAMMEXBvc3Rlcm4gdGVzdCByb290MFkwEwYHKoZIzj0CAQYI\n"                       \
	"KoZIzj0DAQcDQgAEcNnumTL6U9Wq/05LicvPkMpBT2MediVHkfdMYas+jIe2/ZIB\n"                       \
	"WB62LvaRRUK79G8hhe3yAcIoCYpqCeym37EK26MyMDAwDwYDVR0TAQH/BAUwAwEB\n"                       \
	"/zAdBgNVHQ4EFgQUKKKna/RjTx+mHDUFtJSPX9w0d8MwCgYIKoZIzj0EAwIDRwAw\n"                       \
	"RAIgQkaGcbsYvKinUrtR/Zmv9fMvdICyeanVdxg4/UFGRtsCICdJsT2tQWro2u8z\n"                       \
	"3bz7OY/7GNYtgVv+u2SkM0gQ/XXl\n"                                                           \
	"-----END CERTIFICATE-----\n"
#define CERT_INTERMEDIATE                                                                          \
	"-----BEGIN CERTIFICATE-----\n"                                                            \
	"MIIBaTCCARCgAwIBAgIIDTlb/YBSUxMwCgYIKoZIzj0EAwIwHDEaMBgGA1UEAwwR\n"                       \
	"cG9zdGVybiB0ZXN0IHJvb3QwIBcNMjAwMTAxMDAwMDAwWhgPMjA1MDAxMDEwMDAw\n"                       \
	"MDBaMCQxIjAgBgNVBAMMGXBvc3Rlcm4gdGVzdCBpbnRlcm1lZGlhdGUwWTATBgcq\n"                       \
	"hkjOPQIBBggqhkjOPQMBBwNCAASkPMSNybAGOifxXH26+cV377RLCeT2rsMzk6sg\n"                       \
	"JkjNvL4nzfG2YQfsFSKhD4KaWhcl3Z6r9ntpQxGD4Re2ITC8ozIwMDAPBgNVHRMB\n"                       \
	"Af8EBTADAQH/MB0GA1UdDgQWBBS5ajOmkseOMdsuGajWCypPXRnodDAKBggqhkjO\n"                       \
	"PQQDAgNHADBEAiBI47/hpXWv2MyD0IuqlQSWwGoX8+1P8qT+VaMwLvysZQIgFj36\n"                       \
	"gZZtbL1zuc2Q6u6i+GEr3GXetBcOZiMSlzKizzA=\n"                                               \
	"-----END CERTIFICATE-----\n"
/* sns.example.com and *.sns.example.com, by the intermediate */
#define CERT_LEAF                                                                                  \
	"-----BEGIN CERTIFICATE-----\n"                                                            \
	"MIICXTCCAgOgAwIBAgIICRSDYrECdNMwCgYIKoZIzj0EAwIwJDEiMCAGA1UEAwwZ\n"                       \
	"cG9zdGVybiB0ZXN0IGludGVybWVkaWF0ZTAeFw0yMDAxMDEwMDAwMDBaFw00NTAx\n"                       \
	"MDEwMDAwMDBaMBoxGDAWBgNVBAMMD3Nucy5leGFtcGxlLmNvbTCCASIwDQYJKoZI\n"                       \
	"hvcNAQEBBQADggEPADCCAQoCggEBAKH4Fgri48m0Zc6NLWViYzYrkn2+KeHwJHf8\n"                       \
	"FiXMkKE244vZNJfFtupj3XcR5nx0KflWsPuKjwia3EtpiTzBMz9T7dAZuHeEJS/s\n"                       \
	"kU/khXdpWUvqQoDTLA9Vv2KUTxMDlrxum99uvdK9o2eO7KDGaPcBs42/+zjINCzi\n"                       \
	"/m0n+t5KWkh0l53Uuc+a3sTHWwWFLCwPXvilwXUDkvlE6O1kwRDGtkdgmqR4Ouuc\n"                       \
	"bJrXVTEwUGOLg2Zcb296gqOWcCofZBuC0+vyOSIZSR+2hocsVxb1Cvg1jZqLnRfD\n"                       \
	"QHKPf4fYmhjY/KtnrYRZDC7PdZM5NjwHA01vYG+eIeBUVsrl6aECAwEAAaNeMFww\n"                       \
	"DAYDVR0TAQH/BAIwADAtBgNVHREEJjAkgg9zbnMuZXhhbXBsZS5jb22CESouc25z\n"                       \
	"LmV4YW1wbGUuY29tMB0GA1UdDgQWBBQzGIiPp7+DkM3e011UielRYxna2TAKBggq\n"                       \
	"hkjOPQQDAgNIADBFAiBgjoRFSpp7Mm2mp3iFGFJpZKKR6AgPjO4vW2LIpFF3cQIh\n"                       \
	"AOyxMB6oOBluEqmPYAKaHlie5DjFjN3tp6cyoRydN39d\n"                                           \
	"-----END CERTIFICATE-----\n"
/* sns.example.com, by the root */
#define CERT_OLD                                                                                   \
	"-----BEGIN CERTIFICATE-----\n"                                                            \
	"MIICQTCCAeigAwIBAgIIBupOJ0//1ZYwCgYIKoZIzj0EAwIwHDEaMBgGA1UEAwwR\n"                       \
	"cG9zdGVybiB0ZXN0IHJvb3QwHhcNMjAwMTAxMDAwMDAwWhcNMjEwMTAxMDAwMDAw\n"                       \
	"WjAaMRgwFgYDVQQDDA9zbnMuZXhhbXBsZS5jb20wggEiMA0GCSqGSIb3DQEBAQUA\n"                       \
	"A4IBDwAwggEKAoIBAQCh+BYK4uPJtGXOjS1lYmM2K5J9vinh8CR3/BYlzJChNuOL\n"                       \
	"2TSXxbbqY913EeZ8dCn5VrD7io8ImtxLaYk8wTM/U+3QGbh3hCUv7JFP5IV3aVlL\n"                       \
	"6kKA0ywPVb9ilE8TA5a8bpvfbr3SvaNnjuygxmj3AbONv/s4yDQs4v5tJ/reSlpI\n"                       \
	"dJed1LnPmt7Ex1sFhSwsD174pcF1A5L5ROjtZMEQxrZHYJqkeDrrnGya11UxMFBj\n"                       \
	"i4NmXG9veoKjlnAqH2QbgtPr8jkiGUkftoaHLFcW9Qr4NY2ai50Xw0Byj3+H2JoY\n"                       \
	"2PyrZ62EWQwuz3WTOTY8BwNNb2BvniHgVFbK5emhAgMBAAGjSzBJMAwGA1UdEwEB\n"                       \
	"/wQCMAAwGgYDVR0RBBMwEYIPc25zLmV4YW1wbGUuY29tMB0GA1UdDgQWBBQzGIiP\n"                       \
	"p7+DkM3e011UielRYxna2TAKBggqhkjOPQQDAgNHADBEAiAGaLh8siMVGsZtbFOA\n"                       \
	"dpDvdCm/bQO7czHazXlljCBmfAIgZx2A+JiqkHckumAHWeI14txrExdT3zOiOu7m\n"                       \
	"t3COpF8=\n"                                                                               \
	"-----END CERTIFICATE-----\n"
#define CERT_SELF_SIGNED                                                                           \
	"-----BEGIN CERTIFICATE-----\n"                                                            \
	"MIIC5TCCAc2gAwIBAgIID+3BKhnTBPkwDQYJKoZIhvcNAQELBQAwGjEYMBYGA1UE\n"                       \
	"AwwPc25zLmV4YW1wbGUuY29tMB4XDTIwMDEwMTAwMDAwMFoXDTQ1MDEwMTAwMDAw\n"                       \
	"MFowGjEYMBYGA1UEAwwPc25zLmV4YW1wbGUuY29tMIIBIjANBgkqhkiG9w0BAQEF\n"                       \
	"AAOCAQ8AMIIBCgKCAQEAofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd/wWJcyQoTbj\n"                       \
	"i9k0l8W26mPddxHmfHQp+Vaw+4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL+yRT+SFd2lZ\n"                       \
	"S+pCgNMsD1W/YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb/7OMg0LOL+bSf63kpa\n"                       \
	"SHSXndS5z5rexMdbBYUsLA9e+KXBdQOS+UTo7WTBEMa2R2CapHg665xsmtdVMTBQ\n"                       \
	"Y4uDZlxvb3qCo5ZwKh9kG4LT6/I5IhlJH7aGhyxXFvUK+DWNmoudF8NAco9/h9ia\n"                       \
	"GNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQIDAQABoy8wLTAMBgNVHRMB\n"                       \
	"Af8EAjAAMB0GA1UdDgQWBBQzGIiPp7+DkM3e011UielRYxna2TANBgkqhkiG9w0B\n"                       \
	"AQsFAAOCAQEAgvVX0WuAEpa49VrKlE64BcoNxVMaj/YS9MPewd/9e3EAwpxo1CB2\n"                       \
	"njnw5eu8EtZ3pOirCLRxvb0SuoLBUmilX62c2h1Tm2o2iMFuTIzchL2lNr0IyzQh\n"                       \
	"EDu0OdXQqeka1N0Vk6AqpwRLn0PUmi0f0ZodyabQLw4XIFhOTh0bTp1tNujBrMBu\n"                       \
	"fRfJLkWY27UnJIz2cU0c0bs8kRCtBOo+knRR5q7Avhy/4i8EFjGNVhHgCsOl8WA0\n"                       \
	"xooqGVhLrw8hrGuqV6FVU0R3CPCYHOM2Hh272pCZmwt02w9JrjHmu3jLtBgkfEwH\n"                       \
	"Nds6CN9iCWljxsFDLH8g4VSNoFE+nbKNDQ==\n"                                                   \
	"-----END CERTIFICATE-----\n"
#define CERT_EC                                                                                    \
	"-----BEGIN CERTIFICATE-----\n"                                                            \
	"MIIBWzCCAQGgAwIBAgIIBupOJ0//1ZYwCgYIKoZIzj0EAwIwHDEaMBgGA1UEAwwR\n"                       \
	"cG9zdGVybiB0ZXN0IHJvb3QwHhcNMjAwMTAxMDAwMDAwWhcNNDUwMTAxMDAwMDAw\n"                       \
	"WjAaMRgwFgYDVQQDDA9zbnMuZXhhbXBsZS5jb20wWTATBgcqhkjOPQIBBggqhkjO\n"                       \
	"PQMBBwNCAASkPMSNybAGOifxXH26+cV377RLCeT2rsMzk6sgJkjNvL4nzfG2YQfs\n"                       \
	"FSKhD4KaWhcl3Z6r9ntpQxGD4Re2ITC8oy8wLTAMBgNVHRMBAf8EAjAAMB0GA1Ud\n"                       \
	"DgQWBBS5ajOmkseOMdsuGajWCypPXRnodDAKBggqhkjOPQQDAgNIADBFAiBrV7pU\n"                       \
	"9Qevf3CSleOMvyre34Iz9NRoW+kNQiSJow7L1gIhANPNcA4NLInnWnIfcMZ94c34\n"                       \
	"rFPfWdCgWSRtie67yLvQ\n"                                                                   \
	"-----END CERTIFICATE-----\n"
#define CERT_PRIVATE_KEY                                                                           \
	"-----BEGIN PRIVATE KEY-----\n"                                                            \
	"MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQCh+BYK4uPJtGXO\n"                       \
	"jS1lYmM2K5J9vinh8CR3/BYlzJChNuOL2TSXxbbqY913EeZ8dCn5VrD7io8ImtxL\n"                       \
	"aYk8wTM/U+3QGbh3hCUv7JFP5IV3aVlL6kKA0ywPVb9ilE8TA5a8bpvfbr3SvaNn\n"                       \
	"juygxmj3AbONv/s4yDQs4v5tJ/reSlpIdJed1LnPmt7Ex1sFhSwsD174pcF1A5L5\n"                       \
	"ROjtZMEQxrZHYJqkeDrrnGya11UxMFBji4NmXG9veoKjlnAqH2QbgtPr8jkiGUkf\n"                       \
	"toaHLFcW9Qr4NY2ai50Xw0Byj3+H2JoY2PyrZ62EWQwuz3WTOTY8BwNNb2BvniHg\n"                       \
	"VFbK5emhAgMBAAECggEAEq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyW\n"                       \
	"PEAeP88vLNO97IjlA7/GQ5sLKMgvfTeXZx9SE+7YwVol2NXOoAJe46sui395IW/G\n"                       \
	"O+pWJ1O0BkTGoVEn2bKVRUCgu+GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzj\n"                       \
	"kn439X0M/V51gfpRLI9JYanrC4D4qAdGcopV/0ZHHzQlBjudU2QvXt4ehNYTCBr6\n"                       \
	"XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl/x/jTj3ccPDVZFD9pIuhLhBOneufuBiB\n"                       \
	"4cS98l2SR/RQyGWSeWjnczT0QU91p1DhOVRuOopznQKBgQDgHMQQ60imZV1URk0K\n"                       \
	"pLttoLhyt3SmqdEf/kgHePDdtzEafpAu+cS191R2JiuoF2yzWXnwFDcqGigp5BNr\n"                       \
	"0AHQfD8/Lk8l1Mk09jxxCfui5nYooNyac8YFjm3vItzVCVDnEd3BbVWG8qf6deqE\n"                       \
	"lMGAg+C2V0L4oNXnP7LZcPAZRwKBgQC5A8R+CZW2MvRTLLHzwZkUXV866cff7tx6\n"                       \
	"kqa0finGG0KgeqlaZPxgCZnFp7AeAcCMtiynVlJ7vMVgePsLq6XtON4tB5kP9jAP\n"                       \
	"rq3rbAOal78eUH5OcED6eNuCV8ixEu1eWcPNCS/l1OW1EnXUEoEHKl54Xrrz2uNw\n"                       \
	"kgMTP1FZ1wKBgAcCn1dwJKufzBWQxWQp1vsM5fggqPN1qGb5y0MAk3g7/Ls5bkUp\n"                       \
	"5u9SN0Ai3Ya6hNnvWJMb7sXQX6U/zyO2M/hTip7tUeh7CXgwo59dkpN75gJLVds2\n"                       \
	"9+DAncu3KXU4f2Fa+7bLNrur53k8KwPOq2bbuTG69QtV7Jr5MR0AHWKNAoGBAIf/\n"                       \
	"evpitUf+4JYbLpvNXWcY052Mpz22aR84mY3nh3F2LF2mjMJDpTg7FmuyPcVw6EcG\n"                       \
	"yoAe9fa65iNqCq+jdw6PVNGo2hxfjSiZ8IIzHdsPXI89//pMjZcQK9r+CCoRjaZj\n"                       \
	"OYiIDktVWZzmevJuv6WywUqd57LE3Zar3dLSIkx1AoGAIYd7DHOhrWvxkwPQsRM2\n"                       \
	"tOgrjbcrfvtQJipd+DlcxyVuuM9sQLdgjVk2oy26F0EmpScGLq2MowX7fhd/QJQ3\n"                       \
	"ydy5cY7YIBi87w93IKLEdfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp/gh6A56\n"                       \
	"03k2+ZQwVK0JKSHuLFkuQ3U=\n"                                                               \
	"-----END PRIVATE KEY-----\n"
#define CERT_TEXT "the text that was signed"
#define CERT_SIGNATURE_SHA1                                                                        \
	"IxYi6/uNVM6oIJpufxhhbKoyaOFk8ik4bvNfYqDxyCsKYTJMCMkDh6hzJg0v1kPQJqh0ciSzna8iu+A7"         \
	"MV9taV073cvLVT5kSViwAd9wULjguQThO6QTiB+0zByWtpiwmC3WYPLEyABs5NLYlRbucMvRiOvQsw1m"         \
	"awnQZzZ7xin7qozFiBMKauUutlfBOfrIFjXHs61pfB+luNJGO2lZAppKCDpZmDUjdT/u9zXr8X3CGPDH"         \
	"kWj66CkWjGZPGxoTc34Q/34IUjJsReH7iec9UwUAqiF7pNic7C0Squk4dPbKv2J7rmtDJUkAAU8sGMs8"         \
	"+1KQsTPaXz7WD0Cut5WRvg=="
#define CERT_SIGNATURE_SHA256                                                                      \
	"Z2aCHRDXcqUgme8P3NbQIEbYFSJ7oOg8L0wczgHhT5Qek2kU10Y8ifV1hh5j7rsLhS9Qdav8Dz2ZegUp"         \
	"l5W13kNgPETcwsrRGAknlPjz8thmF7voEwIPep+Jdh/F39gy1LrDRvFWfGADnSWbfL6rKiOFD2sF7osZ"         \
	"HVwHHSQgige9RRl2CgScCsznh+FApcS7C6YeIcYpEVDNZZRFsEr3ORfFmHgApwpSQyBxA3ySuF61NpW1"         \
	"HQ95YdVBg3UZitxWPAYXa9aNVxjnQCRVjcRXsh4osLecxtg27t8nIM3v8d7ADn96/ZWyzU6kyFoH4iTd"         \
	"yjDoB04YleEWqezmmh41xw=="
