// Sends requests with net/http/cookiejar, and prints their statuses: go run client.go URL METHOD:PATH...
package main

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"os"
	"strings"
)

func main() {
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic(err)
	}
	// The certificate of the test is nobody's.
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	client := &http.Client{Jar: jar, Transport: transport}
	var statuses []string
	for _, step := range os.Args[2:] {
		method, path, _ := strings.Cut(step, ":")
		request, err := http.NewRequest(method, os.Args[1]+path, nil)
		if err != nil {
			panic(err)
		}
		response, err := client.Do(request)
		if err != nil {
			panic(err)
		}
		response.Body.Close()
		statuses = append(statuses, fmt.Sprint(response.StatusCode))
	}
	fmt.Println(strings.Join(statuses, " "))
}
